"""The activity `handfast.evaluate`: user code that is neither a model call nor a tool."""

from __future__ import annotations

import logging

from pydantic import ValidationError
from temporalio import activity
from temporalio.exceptions import ApplicationError

from handfast.activities.evaluate.conversation import compact_history, pack_blocks
from handfast.activities.evaluate.decisions import look_up_groups, verified
from handfast.activities.evaluate.endings import LastWords, ask_after_tools
from handfast.activities.evaluate.guardrails import GuardrailChecks
from handfast.activities.evaluate.nested_agents import Nesting
from handfast.activities.evaluate.revalidate import revalidated
from handfast.activities.evaluate.verify import verify_call
from handfast.activities.runtime.calls import arguments_of, tool_context
from handfast.activities.runtime.keeping import kept_alive
from handfast.activities.runtime.outputs import bounded_error, bounded_text
from handfast.activities.runtime.rules import KeyFailedError, RuleFailedError, answer_of, own_key
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import UserCodeError, call_user_code
from handfast.activities.tool.guardrails import ask_input, not_asked
from handfast.definitions.agents.agent import Rejection
from handfast.definitions.tools.question import Question
from handfast.errors import ArgumentsInvalidError, UnknownAgentError, UnknownToolError
from handfast.payloads.after_tools import AskAfterTools
from handfast.payloads.base import problems_of
from handfast.payloads.evaluation import (
    EVALUATE,
    EVALUATION,
    BuildInput,
    CheckAnswer,
    CheckArguments,
    CompactHistory,
    Evaluated,
    Evaluation,
    ExtractOutput,
    FilterHistory,
    GuardCall,
    HandleMaxTurns,
    HandleRefusal,
    LookUpGroups,
    PackBlocks,
    RevalidateCall,
    TellHandoff,
    VerifyCall,
    WordFailure,
    WordRejection,
)
from handfast.payloads.guardrails import CheckInput, CheckOutput, Judged
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.signed import VerifyDecision

logger = logging.getLogger(__name__)


class Evaluate:
    """Holds what the activity needs; `run` is the activity."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._nesting = Nesting(runtime)
        self._last_words = LastWords(runtime)
        self._guardrails = GuardrailChecks(runtime)

    @activity.defn(name=EVALUATE)
    async def run(self, arg: object) -> JsonObject:
        """Evaluate one piece of user code by name, and beat meanwhile.

        Raises:
            ApplicationError: This worker lacks the agent or tool (retried, another may have it).
        """
        try:
            evaluation = EVALUATION.validate_python(arg)
        except ValidationError as error:
            raise ApplicationError("; ".join(problems_of(error)), type="PayloadInvalid", non_retryable=True) from None
        cancelled = ApplicationError("the evaluation was cancelled", type="EvaluationCancelled", non_retryable=True)
        try:
            return (await kept_alive(self._runtime.beats, self._evaluated(evaluation), cancelled)).to_wire()
        except (UnknownAgentError, UnknownToolError) as error:
            raise ApplicationError(str(error), type="Missing") from None

    async def _evaluated(self, asked: Evaluation) -> Evaluated | Judged:
        match asked:
            case WordRejection() | CheckArguments() | CheckAnswer() | VerifyDecision():
                return await self._for_decision(asked)
            case LookUpGroups():
                return await look_up_groups(asked, self._runtime.groups, self._runtime.threads)
            case HandleMaxTurns() | HandleRefusal():
                return await self._last_words.said(asked)
            case BuildInput():
                return await self._nesting.build_input(asked)
            case ExtractOutput():
                return await self._nesting.extract_output(asked)
            case WordFailure():
                return await self._nesting.word_failure(asked)
            case TellHandoff():
                return await self._nesting.tell_handoff(asked)
            case FilterHistory():
                return await self._nesting.filter_history(asked)
            case CheckInput() | CheckOutput():
                return await self._guardrails.run(asked)
            case GuardCall() | RevalidateCall() | VerifyCall():
                return await self._of_call(asked)
            case AskAfterTools():
                return await ask_after_tools(asked, self._runtime)
            case CompactHistory() | PackBlocks():
                return await self._for_history(asked)

    async def _of_call(self, asked: GuardCall | RevalidateCall | VerifyCall) -> Evaluated:
        match asked:
            case GuardCall():
                return await self._guard_call(asked)
            case RevalidateCall():
                return await revalidated(asked, self._runtime)
            case VerifyCall():
                return await verify_call(asked, self._runtime)

    async def _for_history(self, asked: CompactHistory | PackBlocks) -> Evaluated:
        if isinstance(asked, CompactHistory):
            return await compact_history(asked, self._runtime)
        return await pack_blocks(asked, self._runtime)

    async def _for_decision(self, asked: WordRejection | CheckArguments | CheckAnswer | VerifyDecision) -> Evaluated:
        match asked:
            case WordRejection():
                return await self._word_rejection(asked)
            case CheckArguments():
                return await self._check_arguments(asked)
            case CheckAnswer():
                return await self._check_answer(asked)
            case VerifyDecision():
                return verified(asked, self._runtime.trusted)

    async def _word_rejection(self, asked: WordRejection) -> Evaluated:
        """A formatter that raises, or answers anything but a text, leaves the default text in place."""
        agent = self._runtime.registry.agent(asked.origin.agent)
        if agent.rejection_text is None:
            return Evaluated()
        arguments = await arguments_of(self._runtime, asked)
        context = await self._runtime.run_context(asked.origin, agent.context_type)
        try:
            text: object = await call_user_code(
                agent.rejection_text,
                context,
                Rejection(tool=asked.tool, arguments=arguments, decided_by=asked.decided_by),
            )
        except UserCodeError as error:
            logger.error("rejection_text of agent %s raised, the default text is used: %s", agent.name, error.kind)
            return Evaluated()
        return Evaluated(text=bounded_text(text)) if isinstance(text, str) else Evaluated()

    async def _guard_call(self, asked: GuardCall) -> Evaluated:
        tool = self._runtime.tool(asked.tool)
        arguments = await arguments_of(self._runtime, asked)
        try:
            model = tool.validate(arguments)
        except Exception as error:  # noqa: BLE001 - a validator of the user's may raise anything
            return Evaluated(text=bounded_error(error))
        context = await tool_context(
            self._runtime, asked.origin, tool, call_id=asked.call_id, arguments=arguments, key=asked.key
        )
        if not tool.input_guardrails:  # an older worker, or a later deploy: neither loosens what was planned with some
            return Evaluated(text=not_asked(asked.tool, "is not there on this worker"))
        stopped = await ask_input(tool.input_guardrails, context, model, self._runtime.threads)
        if stopped is None:
            return Evaluated()
        return Evaluated(text=stopped.output) if stopped.reason is None else Evaluated(problem=stopped.reason)

    async def _check_arguments(self, asked: CheckArguments) -> Evaluated:
        agent = self._runtime.registry.agent(asked.origin.agent)
        offered = agent.offered.get(asked.tool)
        if offered is None:
            raise UnknownToolError(asked.tool, sorted(agent.offered))
        arguments = await arguments_of(self._runtime, asked)
        try:
            model = offered.validate(arguments)
        except ArgumentsInvalidError as error:
            return Evaluated(problem=str(error))
        except Exception as error:  # noqa: BLE001 - a validator of the user's may raise anything
            return Evaluated(problem=bounded_error(error))
        context = await self._runtime.run_context(asked.origin, agent.context_type)
        threads = self._runtime.threads
        try:
            key = await own_key(offered, context, model, threads)
            rule = await answer_of(offered.approval, context, model, threads) if asked.ask_rule else None
        except (KeyFailedError, RuleFailedError) as error:  # under which key, or who may approve them, is not known
            return Evaluated(problem=f"{error} on these arguments")
        if asked.keyed and key is None:  # the planned one is that of other arguments
            return Evaluated(problem=f"{asked.tool} makes no key on this worker to run these arguments under")
        return Evaluated(approval=rule, key=key)

    async def _check_answer(self, asked: CheckAnswer) -> Evaluated:
        offered = self._runtime.registry.agent(asked.origin.agent).offered
        question = offered.get(asked.tool)
        if not isinstance(question, Question):
            raise UnknownToolError(asked.tool, sorted(offered))
        if question.form is None:  # who asked had one
            return Evaluated(problem=f"{asked.tool} has no form on this worker to check the answer by; try again")
        answer = (await arguments_of(self._runtime, asked)).get("output")
        try:
            return Evaluated(problem=question.problem_with(answer))
        except Exception as error:  # noqa: BLE001 - a validator of the user's may raise anything
            return Evaluated(problem=bounded_error(error))
