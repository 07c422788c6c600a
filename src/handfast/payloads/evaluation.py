"""Questions to user code outside of tools, which the activity `handfast.evaluate` answers.

Each question names the type of its answer and reads it: on the wire an answer is plain JSON.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Protocol, TypeVar

from pydantic import Field, TypeAdapter

from handfast.payloads.base import Payload
from handfast.payloads.context_edits import ContextEdit
from handfast.payloads.guardrails import CheckInput, CheckOutput, TellEnd
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.model_call import ApprovalPlan, Origin
from handfast.payloads.requests import Difference
from handfast.payloads.signed import VerifyDecision
from handfast.payloads.tool_call import ArgumentsAt
from handfast.payloads.transcript import Artifact
from handfast.payloads.usage import Spent

EVALUATE: Final = "handfast.evaluate"
"""The activity that is asked."""

AnswerT_co = TypeVar("AnswerT_co", covariant=True)


class Question(Protocol[AnswerT_co]):
    """Something that a workflow asks `EVALUATE`."""

    def to_wire(self) -> JsonObject:
        """The question as the activity gets it."""
        ...

    def read(self, answer: object) -> AnswerT_co:
        """Read what the activity answered.

        Raises:
            PayloadInvalidError: It is no answer to this question.
        """
        ...


class Words(Payload):
    """A text for the model. None: the default one stays."""

    text: str | None = None


class Items(Payload):
    """Items of a conversation that user code made.

    Attributes:
        block: Id for `items`, made by this attempt.
        problem: Why there are none.
    """

    block: str | None = None
    items: list[JsonObject] | None = None
    problem: str | None = None


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

    def read(self, answer: object) -> Words:
        """See `Question`."""
        return Words.from_wire(answer)


class ArgumentsChecked(Payload):
    """The answer of a tool's agent about edited arguments.

    Attributes:
        problem: Why they are refused.
        approval: What the approval rule said; None: nobody needs to be asked.
        key: The idempotency key to run under, where the tool makes its own.
    """

    problem: str | None = None
    approval: ApprovalPlan | None = None
    key: str | None = None


class CheckArguments(Payload):
    """Validate arguments that a person edited against the tool's schema, and make the key that they run under.

    Attributes:
        ask_rule: Also ask the approval rule what it says of them.
        keyed: The tool made the key that was planned: without one of theirs they must not run.
        mcp: The MCP server whose tool it is.
    """

    kind: Literal["check_arguments"] = "check_arguments"
    origin: Origin
    tool: str
    arguments: JsonObject | None = None
    at: ArgumentsAt | None = None
    ask_rule: bool | None = None
    keyed: bool | None = None
    mcp: str | None = None

    def read(self, answer: object) -> ArgumentsChecked:
        """See `Question`."""
        return ArgumentsChecked.from_wire(answer)


class Packed(Payload):
    """The answer of a store of blocks: where they are kept."""

    packed: Artifact


class AfterTools(Payload):
    """Says whether the run ends after its tools.

    Attributes:
        final: It ends with `output`.
        problem: Why the run fails.
    """

    final: bool | None = None
    output: JsonValue = None
    problem: str | None = None


class AskAfterTools(Payload):
    """Ask the agent's `after_tools` function for a final output.

    Attributes:
        results: A block for each call, in the model's order: one item with `tool`, `call_id`, `arguments`, `output`
            and `ok`.
    """

    kind: Literal["after_tools"] = "after_tools"
    origin: Origin
    results: list[str]

    def read(self, answer: object) -> AfterTools:
        """See `Question`."""
        return AfterTools.from_wire(answer)


class PackBlocks(Payload):
    """Keep blocks of the transcript outside the history, as one."""

    kind: Literal["pack_blocks"] = "pack_blocks"
    origin: Origin
    ids: list[str]

    def read(self, answer: object) -> Packed:
        """See `Question`."""
        return Packed.from_wire(answer)


class AnswerChecked(Payload):
    """The answer about a person's own answer: why it is refused; None: it is not."""

    problem: str | None = None


class CheckAnswer(Payload):
    """Validate a person's answer against the form of the question that it answers.

    `arguments`, or those at `at`, hold it as ``output``.

    Attributes:
        form: JSON schema of the form, where an MCP server asks; None: the question knows its own.
    """

    kind: Literal["check_answer"] = "check_answer"
    origin: Origin
    tool: str
    arguments: JsonObject | None = None
    at: ArgumentsAt | None = None
    form: JsonObject | None = None

    def read(self, answer: object) -> AnswerChecked:
        """See `Question`."""
        return AnswerChecked.from_wire(answer)


class BuildInput(CallQuestion):
    """Make a nested agent's input of a call's arguments."""

    kind: Literal["build_input"] = "build_input"

    def read(self, answer: object) -> Items:
        """See `Question`."""
        return Items.from_wire(answer)


class OutputExtracted(Payload):
    """A call's output: a text, or content parts as the Responses API takes them; or the problem, for the model."""

    output: JsonValue = None
    problem: str | None = None


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

    def read(self, answer: object) -> OutputExtracted:
        """See `Question`."""
        return OutputExtracted.from_wire(answer)


class WordFailure(Payload):
    """Word the failure of a nested loop for the model."""

    kind: Literal["word_failure"] = "word_failure"
    origin: Origin
    tool: str
    call_id: str | None = None
    agent: str
    failure: str
    message: str

    def read(self, answer: object) -> Words:
        """See `Question`."""
        return Words.from_wire(answer)


class HandoffTold(Payload):
    """The answer of an `on_handoff`.

    Attributes:
        problem: Why the handoff does not take place, for the model.
        context: What it changed in the run's context.
        context_refused: Why a change of the run's context cannot be kept.
    """

    problem: str | None = None
    context: list[ContextEdit] | None = None
    context_refused: str | None = None


class TellHandoff(CallQuestion):
    """Call `on_handoff`: one attempt, as it may have an effect."""

    kind: Literal["tell_handoff"] = "tell_handoff"

    def read(self, answer: object) -> HandoffTold:
        """See `Question`."""
        return HandoffTold.from_wire(answer)


class FilterHistory(Payload):
    """Ask a handoff's filter for the items that the next agent reads; the agent of `origin` defines the handoff."""

    kind: Literal["filter_history"] = "filter_history"
    origin: Origin
    tool: str

    def read(self, answer: object) -> Items:
        """See `Question`."""
        return Items.from_wire(answer)


class FinalWords(Payload):
    """The output of a run, in place of the model's answer.

    Attributes:
        text: For the transcript, where it is to stand there too.
    """

    output: JsonValue
    text: str | None = None


class EndingHandled(Payload):
    """The output of a run for want of an answer; None: it fails.

    Attributes:
        problem: Why the function gave nothing that can be used.
    """

    closing: FinalWords | None = None
    problem: str | None = None


class HandleMaxTurns(Payload):
    """Ask the agent's `on_max_turns` for the run's output."""

    kind: Literal["handle_max_turns"] = "handle_max_turns"
    origin: Origin
    limit: int

    def read(self, answer: object) -> EndingHandled:
        """See `Question`."""
        return EndingHandled.from_wire(answer)


class HandleRefusal(Payload):
    """Ask the agent's `on_refusal` for the run's output.

    Attributes:
        block: The reply that is the refusal.
    """

    kind: Literal["handle_refusal"] = "handle_refusal"
    origin: Origin
    block: str

    def read(self, answer: object) -> EndingHandled:
        """See `Question`."""
        return EndingHandled.from_wire(answer)


class GroupsFound(Payload):
    """The groups, of those asked about, that the person is in; or why that is not known."""

    groups: list[str] | None = None
    problem: str | None = None


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

    def read(self, answer: object) -> GroupsFound:
        """See `Question`."""
        return GroupsFound.from_wire(answer)


class CallGuarded(Payload):
    """The answer of a call's guardrails: it may run where both are None.

    Attributes:
        text: The model reads this instead of a run.
        problem: Why the run ends.
    """

    text: str | None = None
    problem: str | None = None


class GuardCall(KeyedQuestion):
    """Ask a tool's input guardrails whether a call may run."""

    kind: Literal["guard_call"] = "guard_call"

    def read(self, answer: object) -> CallGuarded:
        """See `Question`."""
        return CallGuarded.from_wire(answer)


class Revalidated(Payload):
    """The answer of a revalidation: why an approval no longer holds; None: it does."""

    changed: Difference | None = None


class RevalidateCall(KeyedQuestion):
    """Ask a tool whether what was approved still holds."""

    kind: Literal["revalidate_call"] = "revalidate_call"

    def read(self, answer: object) -> Revalidated:
        """See `Question`."""
        return Revalidated.from_wire(answer)


class Verified(Payload):
    """The answer of a verification: whether a call in doubt took effect.

    Attributes:
        verified: *ran*: it did, and returned `output`. *run_again*: it did not. None: nobody knows, and `problem` says
            why.
    """

    verified: Literal["ran", "run_again"] | None = None
    output: JsonValue = None
    problem: str | None = None


class VerifyCall(KeyedQuestion):
    """Ask a tool's `verify` whether a call in doubt took effect."""

    kind: Literal["verify_call"] = "verify_call"

    def read(self, answer: object) -> Verified:
        """See `Question`."""
        return Verified.from_wire(answer)


class HistoryCompacted(Payload):
    """A conversation made short; without items it stays as it is.

    Attributes:
        block: Id for `items`, made by this attempt.
        items: They stand in for all blocks up to `until`.
        spent: The cost of the model call for it.
        problem: Why it could not be made short; None also where it is short already.
    """

    block: str | None = None
    items: list[JsonObject] | None = None
    until: str | None = None
    spent: Spent | None = None
    problem: str | None = None


class CompactHistory(Payload):
    """Make the start of the conversation of `origin` short, as its agent says."""

    kind: Literal["compact_history"] = "compact_history"
    origin: Origin

    def read(self, answer: object) -> HistoryCompacted:
        """See `Question`."""
        return HistoryCompacted.from_wire(answer)


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
