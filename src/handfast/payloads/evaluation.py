"""Questions to user code outside of tools, which the activity `handfast.evaluate` answers."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from handfast.payloads.after_tools import AskAfterTools
from handfast.payloads.artifacts import Artifact
from handfast.payloads.base import Payload
from handfast.payloads.changed import Difference
from handfast.payloads.guardrails import CheckInput, CheckOutput, TellEnd
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.model_call import ApprovalPlan, Origin
from handfast.payloads.signed import Refusal, VerifyDecision
from handfast.payloads.tool_call import ArgumentsAt
from handfast.payloads.usage import Spent

EVALUATE: Final = "handfast.evaluate"
"""The activity that is asked."""


class CallQuestion(Payload):
    """Fields of every question about one call; `kind` tells the questions apart.

    Attributes:
        arguments: None where they are large: `at` says where they stand.
    """

    kind: str = ""
    origin: Origin
    tool: str
    call_id: str | None = None
    arguments: JsonObject | None = None
    at: ArgumentsAt | None = None


class KeyedQuestion(CallQuestion):
    """A question to the tool of a call that has an idempotency key."""

    call_id: str
    key: str


class WordRejection(CallQuestion):
    """Ask the agent's `rejection_text` for the output of a rejected call."""

    kind: Literal["word_rejection"] = "word_rejection"
    decided_by: str | None = None


class CheckArguments(Payload):
    """Validate arguments that a person edited against the tool's schema, and make the key that they run under.

    Attributes:
        ask_rule: Also ask the approval rule what it says of them.
        keyed: The tool made the key that was planned: without one of theirs they must not run.
    """

    kind: Literal["check_arguments"] = "check_arguments"
    origin: Origin
    tool: str
    arguments: JsonObject | None = None
    at: ArgumentsAt | None = None
    ask_rule: bool | None = None
    keyed: bool | None = None


class PackBlocks(Payload):
    """Keep blocks of the transcript outside the history, as one."""

    kind: Literal["pack_blocks"] = "pack_blocks"
    origin: Origin
    ids: list[str]


class CheckAnswer(Payload):
    """Validate a person's answer against the form of the question that it answers.

    `arguments`, or those at `at`, hold it as ``output``.
    """

    kind: Literal["check_answer"] = "check_answer"
    origin: Origin
    tool: str
    arguments: JsonObject | None = None
    at: ArgumentsAt | None = None


class BuildInput(CallQuestion):
    """Make a nested agent's input of a call's arguments."""

    kind: Literal["build_input"] = "build_input"


class ExtractOutput(Payload):
    """Make a call's output of a nested loop that has ended.

    Attributes:
        nested: The nested loop: its transcript is read from there.
        output: Block that holds its final output, under that key.
    """

    kind: Literal["extract_output"] = "extract_output"
    origin: Origin
    tool: str
    call_id: str | None = None
    nested: Origin
    output: str


class WordFailure(Payload):
    """Word the failure of a nested loop for the model."""

    kind: Literal["word_failure"] = "word_failure"
    origin: Origin
    tool: str
    call_id: str | None = None
    agent: str
    failure: str
    message: str


class TellHandoff(CallQuestion):
    """Call `on_handoff`: one attempt, as it may have an effect."""

    kind: Literal["tell_handoff"] = "tell_handoff"


class FilterHistory(Payload):
    """Ask a handoff's filter for the items that the next agent reads; the agent of `origin` defines the handoff."""

    kind: Literal["filter_history"] = "filter_history"
    origin: Origin
    tool: str


class HandleMaxTurns(Payload):
    """Ask the agent's `on_max_turns` for the run's output."""

    kind: Literal["handle_max_turns"] = "handle_max_turns"
    origin: Origin
    limit: int


class HandleRefusal(Payload):
    """Ask the agent's `on_refusal` for the run's output.

    Attributes:
        block: The reply that is the refusal.
    """

    kind: Literal["handle_refusal"] = "handle_refusal"
    origin: Origin
    block: str


class FinalWords(Payload):
    """The output of a run in place of the model's answer.

    Attributes:
        text: For the transcript, where it is to stand there too.
    """

    output: JsonValue
    text: str | None = None


class LookUpGroups(Payload):
    """Look up the groups among `groups` that a person is in at this moment.

    Attributes:
        person: As claimed by a decision.
        groups: With their prefix, as in ``group:finance``.
    """

    kind: Literal["look_up_groups"] = "look_up_groups"
    origin: Origin
    person: str
    groups: list[str]


class GuardCall(KeyedQuestion):
    """Ask a tool's input guardrails whether a call may run. In the answer, `text` is what the model reads instead of a
    run, `problem` why the run ends."""

    kind: Literal["guard_call"] = "guard_call"


class RevalidateCall(KeyedQuestion):
    """Ask a tool whether what was approved still holds. In the answer, `changed` says why it does not."""

    kind: Literal["revalidate_call"] = "revalidate_call"


class VerifyCall(KeyedQuestion):
    """Ask a tool's `verify` whether a call in doubt took effect. In the answer, `verified` says so, `output` is what it
    returned."""

    kind: Literal["verify_call"] = "verify_call"


class CompactHistory(Payload):
    """Make the start of the conversation of `origin` short, as its agent says. In the answer, `block` and `items` stand
    in for all blocks up to `until`; without them it stays as it is."""

    kind: Literal["compact_history"] = "compact_history"
    origin: Origin


Evaluation = (
    WordRejection
    | CheckArguments
    | CheckAnswer
    | HandleMaxTurns
    | HandleRefusal
    | LookUpGroups
    | BuildInput
    | ExtractOutput
    | WordFailure
    | TellHandoff
    | FilterHistory
    | CheckInput
    | CheckOutput
    | TellEnd
    | GuardCall
    | VerifyCall
    | AskAfterTools
    | PackBlocks
    | CompactHistory
    | VerifyDecision
    | RevalidateCall
)
EVALUATION: TypeAdapter[Evaluation] = TypeAdapter(Annotated[Evaluation, Field(discriminator="kind")])


class Evaluated(Payload):
    """The answer to a question: the fields that it asks for, or `problem`; all None means that nothing is wrong.

    Attributes:
        text: For the model.
        output: A call's output: a text, or content parts as the Responses API takes them.
        final: `output` ends the run.
        block: Id for `items`, made by this attempt.
        items: A part of the conversation.
        closing: What the run ends with, for want of an answer.
        approval: What the approval rule said of edited arguments; None: nobody needs to be asked.
        groups: Those of the groups asked about that the person is in.
        key: The idempotency key of a call with edited arguments, where the tool makes its own.
        until: The last block that `items` stand in for.
        spent: What a model call for it has cost.
        packed: Where a part of the conversation is kept.
        refused: Why a decision does not count that came by signal.
        changed: Why an approval no longer holds.
        verified: *ran*: the call took effect. *run_again*: it did not. None: nobody knows.
    """

    text: str | None = None
    problem: str | None = None
    output: JsonValue = None
    final: bool | None = None
    block: str | None = None
    items: list[JsonObject] | None = None
    closing: FinalWords | None = None
    approval: ApprovalPlan | None = None
    groups: list[str] | None = None
    key: str | None = None
    packed: Artifact | None = None
    until: str | None = None
    spent: Spent | None = None
    refused: Refusal | None = None
    changed: Difference | None = None
    verified: Literal["ran", "run_again"] | None = None
