"""A frame is one agent loop as data: it can be entered at any point, carried, and replayed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel

from handfast.payloads import call_items
from handfast.payloads.binding import Binding
from handfast.payloads.context_edits import ContextEdit
from handfast.payloads.cutting import cut
from handfast.payloads.guardrails import GuardrailResult
from handfast.payloads.history import KeptHistory
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.mcp import McpAsked
from handfast.payloads.messages import OnMessage
from handfast.payloads.model_call import (
    AfterToolsPlan,
    ApprovalPlan,
    ModelReply,
    PlannedCall,
    StructuredOutput,
    ToldHooks,
    Underway,
)
from handfast.payloads.requests import LimitKind, LimitPolicy
from handfast.payloads.tool_call import LostStart, Proofs
from handfast.payloads.usage import Money, Usage

FAILURE_BYTES: Final = 8192
FAILURE_TYPE_CHARACTERS: Final = 256

Phase = Literal[
    "model",
    "thinking",
    "calls",
    "ending",
    "backoff",
    "stuck",
    "budget",
    "closing",
    "filter",
    "filtering",
    "compacting",
    "checking",
    "finished",
]
CallState = Literal["planned", "asking", "ready", "running", "backoff", "wording", "asked", "settled"]


class Call(BaseModel):
    """One call of the turn under way.

    Attributes:
        request: The request that is open for it, or was last.
        released_by: The request whose approval released the call; `digest` binds what it may run with, and `binding` is
            what that covers besides.
        arguments: What a person put in place of the model's arguments, once released.
        edited: What a person would put in their place, while it is asked about.
        key: The idempotency key that the tool makes of such arguments; None is the planned one.
        starts: Starts that are known never to have entered the tool's body.
        lost: Those among them whose attempts timed out.
        doubt: What is known of an attempt whose outcome its tool is to find out.
        repeats: How often it ran again because its tool had found that it took no effect.
        missing_since: Since when no worker was found that has the tool.
        output: Block that holds its output, once settled.
        ok: It ran to its end; `value` is what it returned, where that may become the frame's output.
        cancelling: Why it was cancelled, alone or with its run; None where it was not.
        allowed: Its input guardrails have let it run.
        context: What it changed in the run's context; kept when the turn is finished.
        child: Frame of the nested loop that it started.
        proofs: The decisions that released it, or said to run it again.
        unproven: How often a worker found that none lets it run.
        policy: What the approval rule said of arguments that a person edited; None: as planned.
        asked: What its MCP server asks for before it goes on, and the answers so far.
        asked_in: Run id of the history in which it was asked about anew after a reset; None: where the model made it.
        reasked: How often an approval of it was taken back, as something had changed.
    """

    plan: PlannedCall
    call_id: str
    tool: str
    state: CallState = "planned"
    request: str | None = None
    released_by: str | None = None
    digest: str | None = None
    binding: Binding | None = None
    arguments: JsonObject | None = None
    edited: JsonObject | None = None
    key: str | None = None
    starts: int = 0
    lost: list[LostStart] = []
    doubt: JsonObject | None = None
    repeats: int = 0
    missing_since: datetime | None = None
    resume_at: datetime | None = None
    output: str | None = None
    ok: bool = False
    value: JsonValue = None
    cancelling: str | None = None
    allowed: bool = False
    context: list[ContextEdit] | None = None
    child: str | None = None
    proofs: Proofs | None = None
    unproven: int = 0
    policy: ApprovalPlan | None = None
    reasked: int = 0
    asked: McpAsked | None = None
    asked_in: str | None = None

    @classmethod
    def of(cls, plan: PlannedCall, item: JsonObject) -> Self:
        """Return the call that an item of a reply makes."""
        return cls(plan=plan, call_id=call_items.id_of(item), tool=call_items.tool_of(item))


class HandedOver(BaseModel):
    """A handoff that won its turn.

    Attributes:
        agent: Who goes on.
        by: Who handed over: the handoff is defined there.
        name: The handoff's own name.
        filtered: What the next agent sees is yet to be said by the handoff's filter.
    """

    agent: str
    by: str
    name: str
    filtered: bool = False


class Guard(BaseModel):
    """A guardrail of a frame, or of a message to it. One of kind *told* lets hooks hear of the output, after all else.

    Attributes:
        agent: Whose it is: a handoff may lie between.
        parallel: It runs beside the model call.
    """

    name: str
    agent: str
    kind: Literal["input", "output", "told"]
    parallel: bool = False
    state: Literal["waiting", "running", "done"] = "waiting"


class Queued(BaseModel):
    """A message that waits for the next model call of its frame.

    Attributes:
        block: Block of what it says.
        size: Its bytes.
        guards: The input guardrails that look at it; None where it is not known yet which there are.
    """

    id: str
    block: str
    size: int
    by: str | None = None
    guards: list[Guard] | None = None

    @property
    def checked(self) -> bool:
        """True when every guardrail has let it pass."""
        return self.guards is not None and all(guard.state == "done" for guard in self.guards)


class Failure(BaseModel):
    """The failure of a frame: the type, text and facts of the error that its run ends with.

    It travels: to an agent's own code that words it, and with the run's end. So its words are bounded.
    """

    type: Annotated[str, AfterValidator(lambda kind: kind[:FAILURE_TYPE_CHARACTERS])]
    message: Annotated[str, AfterValidator(lambda message: cut(message, FAILURE_BYTES)[0])]
    facts: JsonObject | None = None


class Frame(BaseModel):
    """One agent loop.

    Attributes:
        parent: The frame whose call, `parent_call`, started this one; None for a run's own.
        blocks: The transcript, in the order in which the model reads it.
        cursor: How many of them the last completed model call had seen.
        turn: Model replies so far.
        phase: *model*: the next thing is a model call. *calls*: calls of the last reply are being settled. *ending*:
            the agent's `after_tools` is asked whether that was all. *backoff*: until `resume_at`, as no worker knows
            the agent or a reply was broken. *stuck*: no worker knows the agent, which waits for a person. *budget*: a
            limit is reached, and a person is asked for more. *closing*: the agent's own function says what the run
            ends with, for want of an answer. *filter*, *filtering*: a handoff's filter is to say, or
            says, what is seen. *compacting*: the conversation is being made short. *checking*: there is an output, and
            guardrails look at it.
        granted_turns: Beyond `max_turns`; `granted_tokens`, `granted_seconds` and `granted_cost` likewise. Limits are
            never reset, only raised.
        worked_s: For how long it, or something below it, has worked until `clock_at`; since then it works, unless it is
            `resting`: all of it waits for people.
        max_open: How many requests of the workflow may be open when one more is to be opened for a call of the turn;
            None is no limit. `held` is how many calls wait for others to be decided.
        callers: Agents that have made a call in it.
        limit_refused: A person was asked for more, and refused.
        reply: Block of the last reply. `response_id` is its id at the provider.
        hears: Events that hooks of its agent listen to, as the last reply says.
        untold: Events that hooks hear of with the next model call.
        facts: Block that holds the run's `RunFacts`.
        after_tools: What follows when the calls of a turn are settled; None: the model.
        max_parallel: How many of its calls may run at once; None is no limit.
        context_changed: A tool has changed the context in it.
        stream: Its model calls and tools tell what they say on the way.
        handoff: The one that won the turn under way.
        stop: Why it is to end after the turn under way.
        failed_calls: Of the last turn, by call: why the nested loop failed that was to answer it.
        artifacts: Outputs of this conversation that went by reference, by SHA-256.
        earlier: Blocks that the model no longer reads as they are: of former epochs, or left out of long conversations.
        model_queue: Task queue of its model calls; None is the run's own.
        namespace: Of its workflow, as recorded with the last reply. `replied_in` likewise, the run id of the history.
        key: By which a run in a workflow of the user's own is found again in a fresh history.
        nested_usage: What nested loops have spent that were forgotten when the run went on in a fresh history.
        compact: The conversation is to be made short before the next model call.
        compact_from: The turn from which that may be tried again; `compact_pause` is for how many turns it was put off.
        forms: JSON schemas that answers to its questions must satisfy, by tool.
        definitions: What the model was told of MCP tools that it calls, by tool.
        broken_replies: Replies in a row that were empty or none at all.
        invalid_outputs: Answers that did not fit the agent's output type.
        guards: Guardrails of the run's input and output; `guards_known` once the agent was asked for its input's.
        output_guards: Those that an output of the last reply's agent has to pass.
        guardrails: What the guardrails said, the latest last.
        underway: The background response that its model call waits for.
        history: What the model's provider keeps of it; None: it is sent in full with each call.
        history_before: The same as it was before the message that is being answered, in a conversation of several.
        queue: Messages that wait for the next model call, in the order in which they came.
        on_message: What becomes of one when no model call is to come.
        interrupted: The model call under way is being cancelled, to be made again with a message.
        answer: Block of the reply that is the output, and how its text reads; None where the output is another.
        answered_by: Blocks of the conversation that the output was taken from, or made of.
        input: Block of the message that is being answered, in a conversation of several; None: the first one.
        lasts: It is a session's, which reopens it for each message and gives those that came too late a turn of their
            own.
        driven: A driver is at work on it: it is the root frame of a run that is under way.
        unlimited: The caller lifted the agent's own limit of turns.
        turns_before: Model replies to earlier messages, which count for no limit of a message; `spent_before` likewise.
        session_turns: Most model replies to all messages together, raises included; None is no limit. `session_tokens`
            and `session_cost` likewise.
    """

    id: str
    parent: str | None = None
    parent_call: str | None = None
    agent: str
    agent_path: list[str]
    epoch: int = 0
    blocks: list[str] = []
    cursor: int = 0
    seen: str | None = None
    turn: int = 0
    max_turns: int | None = None
    limit_known: bool = False
    max_tokens: int | None = None
    on_limit: LimitPolicy = "fail"
    granted_turns: int = 0
    granted_tokens: int = 0
    max_cost: Money | None = None
    granted_cost: Money = Decimal(0)
    max_seconds: float | None = None
    granted_seconds: int = 0
    worked_s: float = 0.0
    clock_at: datetime | None = None
    resting: bool = False
    max_open: int | None = None
    held: int = 0
    limit_refused: bool = False
    handles_max_turns: bool = False
    callers: list[str] = []
    phase: Phase = "model"
    reply: str | None = None
    response_id: str | None = None
    hears: list[Literal["end", "rejected"]] = []
    untold: list[ToldHooks] = []
    calls: list[Call] = []
    failed_calls: dict[str, str] = {}
    artifacts: list[str] = []
    model_queue: str | None = None
    handoff: HandedOver | None = None
    earlier: list[str] = []
    compact: bool = False
    compact_from: int = 0
    compact_pause: int = 0
    stop: str | None = None
    forms: dict[str, JsonObject] = {}
    definitions: dict[str, JsonObject] = {}
    facts: str | None = None
    context_changed: bool = False
    after_tools: AfterToolsPlan | None = None
    max_parallel: int | None = None
    requested_by: str | None = None
    stream: bool = False
    namespace: str | None = None
    replied_in: str | None = None
    usage: Usage = Usage()
    nested_usage: Usage = Usage()
    key: str | None = None
    request: str | None = None
    missing_since: datetime | None = None
    broken_replies: int = 0
    invalid_outputs: int = 0
    resume_at: datetime | None = None
    waits: int = 0
    output: JsonValue = None
    answer: str | None = None
    answer_structured: StructuredOutput | None = None
    answered_by: list[str] = []
    guards: list[Guard] = []
    guards_known: bool = False
    output_guards: list[Guard] = []
    guardrails: list[GuardrailResult] = []
    history: KeptHistory | None = None
    history_before: KeptHistory | None = None
    queue: list[Queued] = []
    on_message: OnMessage = "follow_up"
    interrupted: bool = False
    underway: Underway | None = None
    failure: Failure | None = None
    input: str | None = None
    lasts: bool = False
    driven: bool = False
    unlimited: bool = False
    turns_before: int = 0
    spent_before: Usage = Usage()
    session_turns: int | None = None
    session_tokens: int | None = None
    session_cost: Money | None = None

    @property
    def has_to_answer(self) -> bool:
        """True while messages wait that can only be answered in this frame."""
        return bool(self.queue) and not self.lasts

    def take_limits(self, reply: ModelReply) -> None:
        """Keep the agent's own limits. The first reply tells them, and they hold to the end of the loop."""
        self.limit_known = True
        if self.max_turns is None and not self.unlimited:
            self.max_turns = reply.max_turns or None
        self.max_tokens, self.max_seconds, self.max_cost = reply.max_tokens, reply.max_seconds, reply.max_cost
        self.on_limit = reply.on_limit or "fail"

    def take(self, reply: ModelReply) -> None:
        """Append a reply, and begin the turn of its calls. Everything that it tells holds until the next reply."""
        self.cursor = len(self.blocks)
        self.blocks.append(reply.block)
        self.seen = self.blocks[self.cursor - 1] if self.cursor else None
        if reply.read_from is not None:
            self.leave_out(reply.read_from)
        self.turn += 1
        self.reply = reply.block
        self.namespace, self.replied_in = reply.namespace, reply.run_id
        self.response_id = reply.response_id
        self.hears, self.untold = reply.hears or [], []
        self.compact = bool(reply.compact) and self.history is None and self.turn >= self.compact_from
        self.handles_max_turns = bool(reply.handles_max_turns)
        self.forms, self.definitions = reply.forms or {}, reply.definitions or {}
        self.after_tools, self.max_parallel, self.max_open = reply.after_tools, reply.max_parallel, reply.max_open
        self.failed_calls = {}
        self.calls = [Call.of(plan, reply.items[plan.index]) for plan in reply.calls]
        if self.calls:
            self.phase = "calls"
            if self.agent not in self.callers:
                self.callers.append(self.agent)

    def take_history(self, reply: ModelReply) -> bool:
        """Keep the position in the history that the provider keeps.

        Returns:
            Whether the reply says that alone, and the model is yet to be asked.
        """
        if self.history is None or reply.history is None:
            return False
        self.history = reply.history
        if reply.items or reply.input_guardrails:
            return False
        if self.history_before is not None and not self.history_before.ready:
            self.history_before = reply.history
        self.phase = "model"
        return True

    def history_to_ask(self) -> KeptHistory | None:
        """Return the history that a model call continues.

        Until the call's reply is recorded, nobody knows what it has left in a conversation.
        """
        told = self.history
        if told is not None and told.kind == "conversation":
            self.history = told.model_copy(update={"uncertain": True})
        return told

    def take_history_back(self, before: KeptHistory | None) -> None:
        """Go on with the history as it was *before* the part that has just been taken out of the conversation."""
        now = self.history
        if now is None or before is None:
            return
        if now.kind == "chain":
            self.history = before.model_copy(update={"rebuilt": now.rebuilt})
        elif now.conversation == before.conversation:  # what stands there after that item is deleted by the next call
            self.history = now.model_copy(update={"item": before.item, "holds": before.holds, "uncertain": True})
        else:  # it was made anew meanwhile, with what has been taken out
            self.history = now.model_copy(update={"conversation": None, "item": None, "holds": None})

    def replace_block(self, old: str, new: str | None) -> None:
        """Let *new* be read in the place of *old*, also where it was put aside; None: nothing."""
        instead = [] if new is None else [new]
        if old in self.earlier:
            at = self.earlier.index(old)
            self.earlier[at : at + 1] = instead
            return
        if old not in self.blocks:
            return
        at = self.blocks.index(old)
        self.blocks[at : at + 1] = instead
        if self.reply == old:
            self.reply = new
        if at < self.cursor:  # the model has read it: whoever keeps what it has read begins anew
            self.cursor, self.seen = 0, None
            self.epoch += 1

    def leave_out(self, read_from: str) -> None:
        """Put aside the blocks before *read_from*: the model no longer reads them."""
        if read_from in self.blocks:
            count = self.blocks.index(read_from)
            self.earlier += self.blocks[:count]
            self.blocks = self.blocks[count:]
            self.cursor -= count

    def fail(self, failure: Failure) -> None:
        """Fail the loop, unless it has a failure already: a further one is a consequence of it."""
        self.failure = self.failure or failure


@dataclass(frozen=True)
class Reached:
    """A limit that a frame has reached.

    Attributes:
        used: Model replies, tokens or money of the frame and of everything below it, or whole seconds.
        limit: What was allowed, granted ones included.
        session: It is the budget of a whole session, and no limit of the message under way.
    """

    what: LimitKind
    used: int | Money
    limit: int | Money
    session: bool = False
