"""The activity `handfast.evaluate`: user code that is neither a model call nor a tool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from pydantic import ValidationError
from temporalio import activity
from temporalio.exceptions import ApplicationError

from handfast.activities.evaluate.conversation import compact_history, pack_blocks
from handfast.activities.evaluate.decisions import (
    check_answer,
    check_arguments,
    look_up_groups,
    verified,
    word_rejection,
)
from handfast.activities.evaluate.endings import ask_after_tools, handle_max_turns, handle_refusal
from handfast.activities.evaluate.guardrails import check_guardrail, guard_call, tell_end
from handfast.activities.evaluate.nested_agents import (
    build_input,
    extract_output,
    filter_history,
    tell_handoff,
    word_failure,
)
from handfast.activities.evaluate.revalidate import revalidated
from handfast.activities.evaluate.verify import verify_call
from handfast.activities.runtime.beats import kept_alive
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_errors import Place, set_place
from handfast.errors import UnknownAgentError, UnknownToolError
from handfast.payloads.base import Payload, problems_of
from handfast.payloads.evaluation import (
    EVALUATE,
    EVALUATION,
    AskAfterTools,
    BuildInput,
    CheckAnswer,
    CheckArguments,
    CompactHistory,
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
from handfast.payloads.guardrails import CheckInput, CheckOutput, TellEnd
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.signed import VerifyDecision


class Evaluate:
    """The activity, as its method `run`, with the runtime of its worker."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @activity.defn(name=EVALUATE)
    async def run(self, arg: object) -> JsonObject:
        """Evaluate one piece of user code by name, and send heartbeats meanwhile.

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

    async def _evaluated(self, asked: Evaluation) -> Payload:
        if isinstance(asked, VerifyDecision):
            return verified(asked, self._runtime.trusted)
        set_place(Place.of(asked.origin, tool=getattr(asked, "tool", None)))
        return await ANSWERS[type(asked)](asked, self._runtime)


ANSWERS: Final[dict[type[Payload], Callable[[Any, Runtime], Awaitable[Payload]]]] = {
    AskAfterTools: ask_after_tools,
    BuildInput: build_input,
    CheckAnswer: check_answer,
    CheckArguments: check_arguments,
    CheckInput: check_guardrail,
    CheckOutput: check_guardrail,
    CompactHistory: compact_history,
    ExtractOutput: extract_output,
    FilterHistory: filter_history,
    GuardCall: guard_call,
    HandleMaxTurns: handle_max_turns,
    HandleRefusal: handle_refusal,
    LookUpGroups: look_up_groups,
    PackBlocks: pack_blocks,
    RevalidateCall: revalidated,
    TellEnd: tell_end,
    TellHandoff: tell_handoff,
    VerifyCall: verify_call,
    WordFailure: word_failure,
    WordRejection: word_rejection,
}
