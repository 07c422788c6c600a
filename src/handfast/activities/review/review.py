"""The activity `handfast.review`: asks the reviewer of a request, and signs what follows where decisions are signed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, get_args

from temporalio import activity
from temporalio.exceptions import ApplicationError

from handfast.activities.review.by_model import opinion_of_model
from handfast.activities.runtime.beats import kept_alive
from handfast.activities.runtime.calls import arguments_of
from handfast.activities.runtime.rules import RULE_S
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import Problem, ask
from handfast.activities.runtime.user_errors import Place, log_answer, set_place
from handfast.activities.runtime.validation import ValidatorFailedError, validated
from handfast.definitions.agents.agent import Agent
from handfast.definitions.context import RunContext
from handfast.definitions.gates.approval import Approval, ApprovalRule
from handfast.definitions.gates.model_reviewer import ModelReviewer
from handfast.definitions.gates.review import Opinion, Reviewer, ReviewInput, name_of
from handfast.definitions.tools.hosted import HostedMcp, McpCall
from handfast.definitions.tools.offered import Offered
from handfast.errors import (
    ArgumentsInvalidError,
    McpUnavailableError,
    PayloadInvalidError,
    RefusalError,
    UnknownAgentError,
    UnknownToolError,
)
from handfast.payloads.call_items import CALLS, arguments_text, id_of, tool_of
from handfast.payloads.json_profile import JsonObject, scrub
from handfast.payloads.people import person
from handfast.payloads.requests import Request
from handfast.payloads.review import REVIEW, REVIEW_REASON_CHARACTERS, is_sampled
from handfast.payloads.review_call import ReviewCall, Reviewed, ReviewMessage, decision_of
from handfast.payloads.signed import Place as RunPlace
from handfast.payloads.usage import Spent

THEN: Final = "people decide"


class ReviewRequests:
    """Holds what the activity needs; `run` is the activity."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @activity.defn(name=REVIEW)
    async def run(self, arg: object) -> JsonObject:
        """Ask a reviewer about one request, and beat meanwhile.

        Raises:
            ApplicationError: This worker lacks the agent or tool, or the reviewer's model or the tool's server is
                away: tried again.
        """
        try:
            asked = ReviewCall.from_wire(arg)
        except PayloadInvalidError as error:
            raise ApplicationError(str(error), type="PayloadInvalid", non_retryable=True) from None
        set_place(Place.of(asked.origin, tool=asked.request.tool))
        cancelled = ApplicationError("the review was cancelled", type="ReviewCancelled", non_retryable=True)
        try:
            return (await kept_alive(self._runtime.beats, self._reviewed(asked), cancelled)).to_wire()
        except (UnknownAgentError, UnknownToolError, McpUnavailableError) as error:
            raise ApplicationError(str(error), type="Missing") from None

    async def _reviewed(self, asked: ReviewCall) -> Reviewed:
        runtime, request = self._runtime, asked.request
        assert request.review is not None
        agent = runtime.registry.agent(asked.origin.agent)
        arguments = await arguments_of(runtime, asked)
        context = await runtime.run_context(asked.origin, agent.context_type)
        reviewer = await self._reviewer(agent, asked, context, arguments)
        if isinstance(reviewer, Problem):
            return Reviewed(problem=f"the reviewer {reviewer.brief}")
        blocks = await runtime.blocks.some(asked.origin, asked.blocks)
        messages = shown((item for _, items in blocks for item in items), request.call_id)
        given = ReviewInput(
            request=request.model_copy(update={"arguments": arguments}),
            tool=request.tool or "",
            arguments=arguments,
            agent_path=tuple(request.agent_path),
            messages=tuple(messages),
        )
        limited = bool(asked.costs) or agent.max_cost is not None
        opinion, spent = await self._opinion(reviewer, context, given, limited=limited)
        if isinstance(opinion, Problem):
            return Reviewed(problem=f"the reviewer {opinion.brief}", messages=messages, spent=spent)
        said = Reviewed(
            verdict=opinion.verdict,
            confidence=float(opinion.confidence),
            reason=scrub(opinion.reason[:REVIEW_REASON_CHARACTERS]) or None,
            messages=messages,
            spent=spent,
        )
        return said.model_copy(update={"sampled": self._sampled(request), **self._signed(asked, said)})

    async def _opinion(
        self, reviewer: Reviewer, context: RunContext[Any], given: ReviewInput, *, limited: bool
    ) -> tuple[Opinion | Problem, Spent | None]:
        review = given.request.review
        assert review is not None
        name = f"the reviewer {review.by} of {given.tool}"
        if isinstance(reviewer, ModelReviewer):
            runtime, within = self._runtime, review.timeout_s
            return await opinion_of_model(reviewer, given, runtime, name=name, within=within, limited=limited)
        within, threads = review.timeout_s, self._runtime.review_threads
        answer = await ask(reviewer, context, given, name=name, within=within, threads=threads, then=THEN)
        if answer is None:
            return Opinion("leave"), None
        if isinstance(answer, Opinion | Problem):
            return answer, None
        problem = f"answered {type(answer).__name__}, not an Opinion or None"
        log_answer(name, problem, THEN)
        return Problem(problem), None

    # --- which reviewer ---

    async def _reviewer(
        self, agent: Agent, asked: ReviewCall, context: RunContext[Any], arguments: JsonObject
    ) -> Reviewer | Problem:
        """Find the reviewer that the request names, where its tool has it on this worker.

        Raises:
            UnknownToolError: The agent does not have the tool here.
            McpUnavailableError: The tool's server cannot be reached.
        """
        request = asked.request
        assert request.review is not None
        rule, rule_arguments = await self._rule(agent, request, arguments)
        if callable(rule):
            # A rule may make its reviewer for the very call, and no worker keeps that: so it is asked again, for the
            # reviewer and for nothing else. The terms are those that were recorded.
            name = f"the approval rule of {request.tool}"
            answer = await ask(
                rule, context, rule_arguments, name=name, within=RULE_S, threads=self._runtime.threads, then=THEN
            )
            if isinstance(answer, Problem):
                return Problem(f"is not known: the approval rule {answer.brief}")
            rule = answer
        reviewer = rule.review if isinstance(rule, Approval) else None
        if reviewer is None or person(name_of(reviewer)) != person(request.review.by):
            return Problem("is not there on this worker, or its rule no longer names it")
        return reviewer

    async def _rule(self, agent: Agent, request: Request, arguments: JsonObject) -> tuple[ApprovalRule, object]:
        """Find the approval rule of a request, and the arguments as the rule takes them."""
        name = request.tool or ""
        if request.kind == "hosted_mcp":
            facts = request.facts or {}
            label, called = str(facts.get("server_label")), str(facts.get("name"))
            server = next(
                (each for each in agent.hosted if isinstance(each, HostedMcp) and each.server_label == label), None
            )
            if server is None:
                raise UnknownToolError(name, sorted(agent.offered))
            return server.approval, McpCall(label, called, arguments)
        offered: Offered | None = agent.offered.get(name)
        if offered is None and (listed_by := _mcp_server(request)) is not None:
            offered = await self._runtime.mcp.tool(listed_by, name)
        if offered is None:
            raise UnknownToolError(name, sorted(agent.offered))
        if not callable(offered.approval):
            return offered.approval, None
        try:
            threads = self._runtime.validation_threads
            return offered.approval, await validated(offered.validate, arguments, of=offered, threads=threads)
        except (ArgumentsInvalidError, ValidatorFailedError):
            return False, None  # the deploy of this worker takes other arguments

    # --- what follows ---

    def _sampled(self, request: Request) -> bool | None:
        review = request.review
        if review is None or review.sample is None:
            return None
        return is_sampled(request.digest, review.sample, self._runtime.sample_key)

    def _signed(self, asked: ReviewCall, said: Reviewed) -> dict[str, Any]:
        """Sign the decision that follows, and look whether that counts here: nothing else may be said to be signed."""
        runtime = self._runtime
        if said.verdict is None or said.verdict == "leave":
            return {}
        if runtime.reviewer_key is None:
            missing = "this worker has no reviewer key; give it HandfastPlugin(reviewer_key=…)"
            return {} if runtime.trusted is None else {"unsigned": missing}
        info = activity.info()
        place = RunPlace(namespace=info.namespace, workflow=info.workflow_id or "", run=asked.origin.workflow_run)
        decision = runtime.reviewer_key.sign(decision_of(asked.request, said.verdict, said.reason), place)
        if runtime.trusted is not None:
            try:
                opened, now = asked.request.requested_at, datetime.now(UTC)
                runtime.trusted.check_new(decision, place, requested_at=opened, now=now)
            except RefusalError as refusal:
                return {"unsigned": refusal.message}
        return {"signature": decision.signature}


def _mcp_server(request: Request) -> str | None:
    """Return the MCP server whose tool a request is about."""
    told = (request.facts or {}).get("mcp")
    server = told.get("server") if isinstance(told, dict) else None
    return server if isinstance(server, str) else None


MOST_MESSAGES: Final = 12
"""Parts that are shown: the first one, and the last ones."""
MESSAGE_CHARACTERS: Final = 1_000
_ROLES: Final = frozenset(get_args(ReviewMessage.model_fields["role"].annotation)) - {"tool"}


def shown(items: Iterable[JsonObject], call_id: str | None) -> list[ReviewMessage]:
    """Return the first and the last parts of a conversation, each by its start.

    They are recorded with what the reviewer said, so they are few and short.

    Args:
        items: The conversation, as far as it is known here.
        call_id: The call that is judged, which is shown by itself.
    """
    told = [message for item in items if (message := _told(item, call_id)) is not None]
    return told if len(told) <= MOST_MESSAGES else [told[0], *told[1 - MOST_MESSAGES :]]


def _told(item: JsonObject, call_id: str | None) -> ReviewMessage | None:
    kind = item.get("type", "message")
    if kind == "message" and item.get("role") in _ROLES:
        return _message(str(item["role"]), _text(item.get("content")))
    if kind in CALLS and id_of(item) != call_id:
        return _message("assistant", f"calls {tool_of(item)} with {arguments_text(item)}")
    if str(kind).endswith("_output"):
        return _message("tool", _text(item.get("output")))
    return None  # thoughts, and what the provider's own tools did


def _message(role: Any, text: str) -> ReviewMessage | None:
    if not text:
        return None
    start = scrub(text[:MESSAGE_CHARACTERS])
    return ReviewMessage(role=role, text=start if len(text) <= MESSAGE_CHARACTERS else f"{start}…")


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return "" if content is None else json.dumps(content, ensure_ascii=False)
    return "\n".join(filter(None, map(_part, content)))


def _part(part: object) -> str:
    if not isinstance(part, dict):
        return ""
    for name in ("text", "refusal"):
        if isinstance(part.get(name), str):
            return str(part[name])
    return f"[{part.get('type', 'content')}]"
