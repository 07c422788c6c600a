"""Answers questions of a run about a decision: its signature, groups, edited arguments, answers, rejection texts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.calls import arguments_of
from handfast.activities.runtime.outputs import bounded_text
from handfast.activities.runtime.rules import KeyFailedError, RuleFailedError, answer_of, own_key
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import Problem, ask
from handfast.activities.runtime.user_errors import log_answer
from handfast.activities.runtime.validation import ValidatorFailedError, validated
from handfast.definitions.agents.rejection import Rejection
from handfast.definitions.tools.question import Question
from handfast.errors import (
    ArgumentsInvalidError,
    KeysUnavailableError,
    McpUnavailableError,
    RefusalError,
    UnknownToolError,
)
from handfast.mcp.tool import problems_of
from handfast.payloads.evaluation import (
    AnswerChecked,
    ArgumentsChecked,
    CheckAnswer,
    CheckArguments,
    GroupsFound,
    LookUpGroups,
    WordRejection,
    Words,
)
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.people import GROUP, person
from handfast.payloads.requests import Decision
from handfast.payloads.signed import DecisionVerified, Refusal, VerifyDecision

if TYPE_CHECKING:
    from handfast.signing.trusted_keys import TrustedKeys

LOOKUP_S: Final = 10.0
"""Time limit of a lookup of groups; after it the decision is refused."""
WORDING_S: Final = 5.0
"""Time limit of an agent's `rejection_text`; after it the default text stands."""
EDIT_REFUSED: Final = "the edited arguments are refused"


# --- signatures ---


def refusal_of(asked: VerifyDecision, trusted: TrustedKeys) -> Refusal | None:
    """Return why a decision does not count; None where it does."""
    try:
        trusted.check_new(
            Decision.from_wire(asked.decision),
            asked.place,
            requested_at=datetime.fromisoformat(asked.requested_at),
            of=asked.of,
            stored=bool(asked.stored),
        )
    except RefusalError as refusal:
        facts = {name: value for name, value in refusal.facts.items() if value is not None}
        return Refusal(type=type(refusal).__name__, message=refusal.message, facts=facts)
    return None


def verifier(trusted: TrustedKeys) -> Callable[[JsonObject], JsonObject | None]:
    """Return the function that validators call. Plain JSON in and out: it crosses the border of a sandbox."""

    def verify(asked: JsonObject) -> JsonObject | None:
        refused = refusal_of(VerifyDecision.from_wire(asked), trusted)
        return None if refused is None else refused.to_wire()

    return verify


def verified(asked: VerifyDecision, trusted: TrustedKeys | None) -> DecisionVerified:
    """Verify the signature of a decision that came by signal.

    Raises:
        ApplicationError: This worker cannot tell; another may.
    """
    if trusted is None:
        raise ApplicationError("this worker has no keys to verify a decision with", type="Missing")
    refused = refusal_of(asked, trusted)
    if refused is not None and refused.type == KeysUnavailableError.__name__:
        raise ApplicationError(refused.message, type="Missing")
    return DecisionVerified(refused=refused)


# --- who decides ---


async def look_up_groups(asked: LookUpGroups, runtime: Runtime) -> GroupsFound:
    """Look up the groups that the person is in; every failure is a problem, which refuses the decision."""
    groups = runtime.groups
    if groups is None:
        return GroupsFound(problem="this worker knows no groups; give HandfastPlugin(groups=…)")
    if not callable(groups):
        who = person(asked.person)
        found: object = [name for name, members in groups.items() if who in {person(each) for each in members}]
    else:
        name, then = "the lookup of groups", "the decision is refused"
        found = await ask(groups, asked.person, name=name, within=LOOKUP_S, threads=runtime.threads, then=then)
        if isinstance(found, Problem):
            return GroupsFound(problem=f"{name} {found.brief}")
    names = _names(found)
    if names is None:
        problem = f"answered {type(found).__name__}, not a list of names"
        log_answer("the lookup of groups", problem, "the decision is refused")
        return GroupsFound(problem=f"the lookup of groups {problem}")
    return GroupsFound(groups=[group for group in asked.groups if group.removeprefix(GROUP) in names])


def _names(found: object) -> Collection[str] | None:
    if isinstance(found, str) or not isinstance(found, Iterable):
        return None
    names = list(found)
    if not all(isinstance(name, str) for name in names):
        return None
    return {name.removeprefix(GROUP) for name in names}


# --- what was decided ---


async def word_rejection(asked: WordRejection, runtime: Runtime) -> Words:
    """Let the agent word a rejected call; a function that gives no text leaves the default one in place."""
    agent = runtime.registry.agent(asked.origin.agent)
    if agent.rejection_text is None:
        return Words()
    arguments = await arguments_of(runtime, asked)
    context = await runtime.run_context(asked.origin, agent.context_type)
    rejection = Rejection(tool=asked.tool, arguments=arguments, decided_by=asked.decided_by)
    name, then = f"rejection_text of agent {agent.name}", "the default text is used"
    text = await ask(
        agent.rejection_text, context, rejection, name=name, within=WORDING_S, threads=runtime.threads, then=then
    )
    if isinstance(text, str):
        return Words(text=bounded_text(text))
    if not isinstance(text, Problem):
        log_answer(name, f"answered {type(text).__name__}, not a text", then)
    return Words()


async def check_arguments(asked: CheckArguments, runtime: Runtime) -> ArgumentsChecked:
    """Validate edited arguments, make their key, and ask the approval rule about them.

    Raises:
        UnknownToolError: This worker's agent does not have the tool.
    """
    agent = runtime.registry.agent(asked.origin.agent)
    offered = agent.offered.get(asked.tool)
    if offered is None and asked.mcp is not None:
        try:
            offered = await runtime.mcp.tool(asked.mcp, asked.tool)
        except McpUnavailableError as error:
            return ArgumentsChecked(problem=f"the arguments could not be checked: {error}; try again")
    if offered is None:
        raise UnknownToolError(asked.tool, sorted(agent.offered))
    threads = runtime.threads
    arguments = await arguments_of(runtime, asked)
    try:
        model = await validated(
            offered.validate, arguments, of=offered, threads=runtime.validation_threads, then=EDIT_REFUSED
        )
    except ArgumentsInvalidError as error:
        return ArgumentsChecked(problem=str(error))
    except ValidatorFailedError as error:
        return ArgumentsChecked(problem=f"Error: {error}")
    context = await runtime.run_context(asked.origin, agent.context_type)
    try:
        key = await own_key(offered, context, model, threads)
        rule = None
        if asked.ask_rule:
            rule = await answer_of(offered.approval, context, model, of=asked.tool, then=EDIT_REFUSED, threads=threads)
    except (KeyFailedError, RuleFailedError) as error:  # under which key, or who may approve them, is not known
        return ArgumentsChecked(problem=f"{error} on these arguments")
    if asked.keyed and key is None:  # the planned one is that of other arguments
        return ArgumentsChecked(problem=f"{asked.tool} makes no key on this worker to run these arguments under")
    return ArgumentsChecked(approval=rule, key=key)


async def check_answer(asked: CheckAnswer, runtime: Runtime) -> AnswerChecked:
    """Validate a person's answer against the question's form.

    Raises:
        UnknownToolError: This worker's agent does not have the question.
    """
    if asked.form is not None:
        problems = problems_of(asked.form, (await arguments_of(runtime, asked)).get("output"), "answer")
        fits = f"the answer to {asked.tool} does not fit: {'; '.join(problems)}"
        return AnswerChecked(problem=fits if problems else None)
    offered = runtime.registry.agent(asked.origin.agent).offered
    question = offered.get(asked.tool)
    if not isinstance(question, Question):
        raise UnknownToolError(asked.tool, sorted(offered))
    if question.form is None:  # who asked had one
        return AnswerChecked(problem=f"{asked.tool} has no form on this worker to check the answer by; try again")
    answer = (await arguments_of(runtime, asked)).get("output")
    then = "the answer is refused"
    try:
        problem = await validated(
            question.problem_with, answer, of=question, threads=runtime.validation_threads, then=then
        )
    except ValidatorFailedError as error:
        return AnswerChecked(problem=f"Error: {error}")
    return AnswerChecked(problem=problem)
