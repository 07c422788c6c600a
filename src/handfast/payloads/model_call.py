"""Argument and answer of the activity `handfast.call_model`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from handfast.payloads.base import Instant, Payload
from handfast.payloads.history import KeptHistory
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.requests import DeadlineDefault, LimitPolicy, OnEdit
from handfast.payloads.review import ReviewPlan
from handfast.payloads.usage import Money, Usage


class Underway(Payload):
    """A background response that a model call waits for.

    Attributes:
        response: Its id at the provider.
        calls: How many activities have waited for it.
        choice: Position of its model in the agent's list; None is the first.
    """

    response: str
    calls: int = 0
    choice: int | None = None


Effect = Literal["read_only", "idempotent", "at_most_once"]
UnknownPolicy = Literal["ask", "tell_model", "fail"]

REPLY_BROKEN = "ModelReplyBroken"
"""Type of the failure of `handfast.call_model` whose reply was empty or none at all. Not retried by Temporal, whose
count of attempts includes those at which the provider was busy: the workflow counts these, and asks again."""


class Origin(Payload):
    """Place of an activity in its run: names and ids only, the conversation stays in the workflow.

    Attributes:
        workflow_run: Run id of the first run of this workflow, stable over continue-as-new.
        query: Name of the transcript query on the workflow.
        facts: Block that holds the run's `RunFacts`, where it has any.
        parent: Of a nested loop: the frame whose call it answers, and `call`, that call's id.
    """

    workflow_run: str
    agent: str
    agent_path: list[str]
    frame: str
    epoch: int = 0
    turn: int
    query: str = "transcript"
    facts: str | None = None
    parent: str | None = None
    call: str | None = None


class ToldHooks(Payload):
    """Something that hooks hear of with the next model call.

    Attributes:
        what: *started*: the agent begins to work. *rejected*: a person, or a deadline, rejected a call.
        by: Of *started*: the agent that handed over. Of *rejected*: claimed name of the person; None for a deadline.
        tool: The rejected call's tool, and `call`, its id.
    """

    what: Literal["started", "rejected"]
    by: str | None = None
    tool: str | None = None
    call: str | None = None


class ModelCall(Payload):
    """Input of the activity `handfast.call_model`.

    Attributes:
        after: Last block that the previous model call of this frame saw; None on the first.
        ids: Blocks since then, in order.
        called: The agent has made a call in this loop before.
        probe: Also report which search attributes exist and the agent's own limits.
        guard: Name the agent's input guardrails instead of calling the model, where it has some.
        failed: Of the turn before, by call: the type and text of what ended the nested loop that was to answer it. For
            readers of the history.
        by_reference: An output of the conversation went by reference: the model is offered to read more of it.
        history: The provider keeps the conversation, as far as this says: only what is new is sent.
        stream: What the model writes is told while it writes it, to whoever watches.
        underway: A background response that was begun for this call, and is waited for.
        told: Hooks hear of this before the model is called.
        costs: A limit of money holds: a model without a price is not asked.
    """

    origin: Origin
    after: str | None = None
    ids: list[str]
    called: bool | None = None
    probe: bool = False
    guard: bool | None = None
    failed: dict[str, str] | None = None
    by_reference: bool | None = None
    history: KeptHistory | None = None
    stream: bool | None = None
    underway: Underway | None = None
    told: list[ToldHooks] | None = None
    costs: bool | None = None


class NamedGuardrail(Payload):
    """An input guardrail of the agent, as the workflow knows it."""

    name: str
    parallel: bool


class EscalationPlan(Payload):
    """Further approvers, so long after the request opened."""

    after_s: Annotated[float, Field(gt=0)]
    approvers: list[str]


class ApprovalPlan(Payload):
    """Terms of an approval, as the agent's rule gave them once: rules are never asked twice.

    None stands for the default: anybody may decide, one approval is enough, a rejection closes the request, and an
    approval with other arguments runs them.

    Attributes:
        deadline_at: Until when it stays open, where the rule named a time and not how long.
        remind_s: So long after it opened the request is brought to mind.
        escalate: Who may decide too, and when.
        review: How the application's reviewer judges it first, where it has one.
    """

    deadline_s: Annotated[float, Field(gt=0)] | None = None
    on_deadline: DeadlineDefault | None = None
    reason: str | None = None
    approvers: list[str] | None = None
    quorum: int | None = None
    exclude_requester: bool | None = None
    veto: bool | None = None
    on_edit: OnEdit | None = None
    deadline_at: Instant | None = None
    remind_s: list[float] | None = None
    escalate: list[EscalationPlan] | None = None
    review: ReviewPlan | None = None


class DoubtPlan(Payload):
    """Terms of a question about a call in doubt. None stands for the default: for ever, then give up."""

    deadline_s: Annotated[float, Field(gt=0)] | None = None
    on_deadline: Literal["fail"] | None = None
    approvers: list[str] | None = None


class ExistingActivity(Payload):
    """An activity that exists already: the workflow starts it directly.

    Attributes:
        argument: It gets one, the arguments object; False for one without.
        key_field: Field of the argument that the workflow fills with the idempotency key.
    """

    type: str
    argument: bool = True
    heartbeat_s: float | None = None
    start_within_s: float
    key_field: str | None = None


class RetryPlan(Payload):
    """Attempts at a tool's activity, and the pauses between them."""

    attempts: Annotated[int, Field(ge=1)]
    first_pause_s: Annotated[float, Field(gt=0)]
    longest_pause_s: Annotated[float, Field(gt=0)]


class PlannedCall(Payload):
    """Plan for one call of a reply. None stands for the default, to keep the history small.

    Attributes:
        index: Position of the call among the reply's items.
        kind: *blocked*: a guardrail stopped it before anybody was asked. *tripped*: a guardrail ends the run.
        text: Output for the model where nothing runs (*unknown*, *invalid*, *blocked*); the reason (*tripped*).
        worded: The agent words its rejections itself.
        agent: For *agent*: whose loop it starts; for *handoff*: who goes on. A person is asked first where `approval`
            is there.
        max_turns: Of the nested loop; None takes the agent's own limit.
        input: How the nested loop's input comes about: the one text parameter, the arguments as JSON, or built.
        extracted: The agent tool makes the call's output of the finished loop.
        told: The handoff is told to user code before it takes place.
        filtered: The handoff's filter says what the next agent sees.
        task_queue: Where its activity is scheduled; None is the run's own.
        activity: An activity that exists already, in place of one of ours.
        guarded: The tool has input guardrails, which are asked when the call is about to run.
        output_guarded: The tool has output guardrails: a worker where it has none does not run it.
        hosted: The provider asks whether it may call a hosted MCP server: nothing runs here, the answer is the output.
        doubt: How a person is asked about it, where its outcome is unknown.
        verified: Its tool can find out whether it took effect.
        reads: It reads an output that went by reference, which has to be one of this conversation.
        revalidates: The tool is asked, when a released call is about to run, whether the approval still holds.
        mcp: Name of the MCP server whose tool it calls.
        schema_digest: Digest of the tool's parameters as they were offered, where a person is asked. Of an MCP tool it
            is that of its whole definition, and always there.
        arguments_digest: Likewise of the arguments: later code must not read others in the same reply.
    """

    index: int
    kind: Literal["run", "ask", "question", "agent", "handoff", "unknown", "invalid", "blocked", "tripped"]
    text: str | None = None
    approval: ApprovalPlan | None = None
    effect: Effect | None = None
    on_unknown: UnknownPolicy | None = None
    doubt: DoubtPlan | None = None
    verified: bool | None = None
    on_error: Literal["tell_model", "fail", "word"] | None = None
    timeout_s: float | None = None
    key: str | None = None
    worded: bool | None = None
    agent: str | None = None
    max_turns: int | None = None
    input: Literal["json", "built"] | None = None
    extracted: bool | None = None
    told: bool | None = None
    filtered: bool | None = None
    task_queue: str | None = None
    activity: ExistingActivity | None = None
    guarded: bool | None = None
    output_guarded: bool | None = None
    retry: RetryPlan | None = None
    hosted: bool | None = None
    reads: bool | None = None
    revalidates: bool | None = None
    mcp: str | None = None
    schema_digest: str | None = None
    arguments_digest: str | None = None


class AfterToolsPlan(Payload):
    """Rule for the end of a turn: the first call that ran ends the run, or the first of those named,
    or the agent's function is asked."""

    kind: Literal["stop_on_first", "stop_at", "ask"]
    names: list[str] | None = None


class StructuredOutput(Payload):
    """Result of reading a reply without calls as the agent's output type. The text itself is among the items.

    Attributes:
        wrapped: The value stands in an object around it, as `handfast.output_type` says.
        problem: Why it does not fit, for the model to read; None where it fits.
    """

    wrapped: bool | None = None
    problem: str | None = None


class PassedOver(Payload):
    """A model that was unavailable, so that the next one was asked.

    Attributes:
        client: Name of the model entry that has it.
        problem: Why, in the words of its provider.
    """

    model: str
    client: str = "default"
    problem: str


class ModelReply(Payload):
    """Output of the activity `handfast.call_model`.

    Attributes:
        block: Id of the block that `items` form.
        calls: Plan for every call among the items, by index.
        model: Name of the model that was asked.
        refusal: The model declined: the run fails, or the agent's own function is asked what it ends with.
        handles_max_turns: The agent has a function that is asked at the limit of turns.
        attributes: On a probe: search attributes of ours that the namespace has; None where it did not say.
        forms: For calls of kind *question*: the JSON schema that an answer must satisfy, by tool.
        definitions: For calls of MCP tools: what the model was told of the tool, by its name.
        max_turns: On a probe: the agent's own limit; 0 means none.
        structured: For a final answer of an agent with an output type.
        input_guardrails: The model was not called: these come first.
        output_guardrails: Names of those that have to see the output, where this reply may end the run.
        max_tokens: On a probe: the agent's own limit, where it has one.
        max_cost: Likewise in money.
        max_seconds: On a probe: how long the agent may work, where that is limited.
        max_open: How many requests of the run may be open when one of its calls is to be asked about; None is no limit.
        on_limit: On a probe: what follows at a limit; None stands for *fail*.
        after_tools: What follows when its calls are settled; None: the model is asked again.
        max_parallel: How many of its calls may run at once; None is no limit.
        read_from: The first block of the conversation that the model was sent something of; None: none was left out.
        keeps: On a probe: workers keep outside the history what is too large for it.
        underway: There is no reply yet: the provider still makes it.
        history: What the provider keeps by now; without items and guardrails, the model was not called yet.
        archive: The workers have an archive: the run's history goes there. On a probe, and with input guardrails.
        compact: The conversation has grown so long that it is to be made short.
        notify: The workers have a function that people are told by. Where `archive` is said.
        namespace: Where this runs. Recorded, as a replay elsewhere has to compute the digests that people were shown.
        signed: The worker takes signed decisions only: so does the run, from its first reply on that says so.
        run_id: Likewise, of the history that it belongs to: a reset makes another one of it.
        left_out: What the request went without, as its server refuses it: paths of its fields.
        passed_over: The models of the agent's list that were unavailable.
        hears: Hooks listen to the end of the agent's work (*end*), or to rejected calls (*rejected*).
    """

    block: str
    items: list[JsonObject]
    calls: list[PlannedCall] = []
    forms: dict[str, JsonObject] | None = None
    definitions: dict[str, JsonObject] | None = None
    usage: Usage = Usage()
    model: str | None = None
    refusal: Literal["failed", "handled"] | None = None
    handles_max_turns: bool | None = None
    response_id: str | None = None
    attributes: list[str] | None = None
    max_turns: int | None = None
    structured: StructuredOutput | None = None
    max_tokens: int | None = None
    max_cost: Money | None = None
    max_seconds: float | None = None
    max_open: int | None = None
    on_limit: LimitPolicy | None = None
    input_guardrails: list[NamedGuardrail] | None = None
    output_guardrails: list[str] | None = None
    archive: bool | None = None
    after_tools: AfterToolsPlan | None = None
    max_parallel: int | None = None
    read_from: str | None = None
    compact: bool | None = None
    notify: bool | None = None
    keeps: bool | None = None
    history: KeptHistory | None = None
    underway: Underway | None = None
    namespace: str | None = None
    signed: bool | None = None
    run_id: str | None = None
    left_out: list[str] | None = None
    passed_over: list[PassedOver] | None = None
    hears: list[Literal["end", "rejected"]] | None = None

    @property
    def is_none(self) -> bool:
        """True where the model has not replied: the answer holds only what the workflow needs before."""
        return self.underway is not None or (not self.items and self.history is not None)
