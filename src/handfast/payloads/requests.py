"""Requests that wait for a person, and the decisions that close them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from handfast.payloads.base import Claimed, Instant, Name, Payload
from handfast.payloads.binding import Binding, Bound
from handfast.payloads.cutting import Reason
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.remember import Remember
from handfast.payloads.review import LeftBecause, Review, Share
from handfast.payloads.signature import Signature, SignedBy
from handfast.payloads.usage import Money

RequestKind = Literal["approval", "question", "budget", "handoff", "hosted_mcp", "in_doubt"]
DeadlineDefault = Literal["reject", "approve", "fail", "give_up"]
LimitKind = Literal["turns", "tokens", "time", "cost"]
LimitPolicy = Literal["fail", "ask"]
OnEdit = Literal["ask_again", "accept"]
Turns = Annotated[int, Field(ge=1, le=1_000_000)]
Tokens = Annotated[int, Field(ge=1, le=1_000_000_000_000)]
Seconds = Annotated[int, Field(ge=1, le=1_000_000_000)]
Cost = Annotated[Money, Field(gt=0)]

DECISION_BYTES = 64 * 1024
"""Largest decision that is taken: an approver writes a note, not a book."""
NOT_ANSWERED = "A person declined to answer."
"""Text that the model reads when a question was rejected without a reason."""
NOBODY_ANSWERED = "Nobody answered in time."
"""Text that the model reads when a question passed its deadline."""
DEFAULT_REJECTION = "A person rejected this call. It did not run."
"""Text that the model reads when a call was rejected without a reason."""


class Vote(Payload):
    """One person's vote on a request that takes several.

    Attributes:
        signed_by: The key that vouches for `by`; None: the name is claimed.
    """

    by: str
    verdict: Literal["approve", "reject"]
    at: Instant
    signed_by: SignedBy | None = None


class Scheduled(Payload):
    """A reminder or an escalation of a request that waits.

    Attributes:
        what: *remind*: it is brought to mind. *escalate*: `approvers` may decide too.
        done_at: When that took place, which is later than `at` where no worker ran.
    """

    what: Literal["remind", "escalate"]
    at: Instant
    approvers: list[str] | None = None
    done_at: Instant | None = None


class Request(Payload):
    """One question that waits for a person's decision.

    Attributes:
        id: Random, never reused.
        arguments: As the model wrote them; None when they are above 16 KB (`arguments_preview` then shows their start
            and `arguments_bytes` their size) or when the request is not about a call.
        digest: Binds a decision to exactly this request, tool and arguments, and to all that `binding` names.
        agent_path: From the root agent down to the one that asks.
        position: Of the call among the reply's items: requests that opened together are listed in this order.
        deadline: When `on_deadline` applies by itself.
        reason: Why a person is asked, as far as it is known.
        verdicts: Kinds of verdict that this request takes.
        approvers: Who may decide, people and ``group:…``; None is anybody.
        quorum: How many people have to approve; None is one.
        exclude_requester: True where `requested_by` and `editors` may not decide.
        veto: False where one rejection does not close it, and rejections need the quorum too.
        on_edit: *ask_again* where an approval with other arguments opens a new request for them.
        votes: What has been said so far, where there is a quorum.
        editors: Who changed the arguments that are asked about.
        schedule: Reminders and escalations, in order, those that took place included. Whom one added is in `approvers`.
        facts: For *in_doubt*: what is known of the attempt (attempt, started_at, worker, how it ended). For *budget*:
            `BudgetFacts`. For *question*: ``schema``, which the answer must satisfy, where it is no text; lists that
            need no worker have ``schema_bytes`` in its place; of an MCP server's also ``question``, its text, and
            ``url``, the address of a page to visit in place of a form. Of calls of MCP tools: ``mcp``, what the server
            says of the tool. Where an approval no longer held: ``changed``, a
            `ChangedFacts`.
        review: The review by the application's reviewer, where the approval rule wants one.
        bound: What the digest covers beyond the other fields.
    """

    id: str
    kind: RequestKind
    agent: str
    agent_path: list[str]
    tool: str | None = None
    call_id: str | None = None
    arguments: JsonObject | None = None
    arguments_preview: str | None = None
    arguments_bytes: int | None = None
    digest: str
    frame: str
    turn: int
    position: int = 0
    requested_at: Instant
    requested_by: str | None = None
    deadline: Instant | None = None
    on_deadline: DeadlineDefault = "reject"
    reason: str | None = None
    verdicts: list[str]
    approvers: list[str] | None = None
    quorum: int | None = None
    exclude_requester: bool | None = None
    veto: bool | None = None
    on_edit: OnEdit | None = None
    votes: list[Vote] | None = None
    editors: list[str] | None = None
    schedule: list[Scheduled] | None = None
    facts: JsonObject | None = None
    review: Review | None = None
    bound: Bound

    @property
    def binding(self) -> Binding:
        """Return all that the digest covers besides the arguments, as in ``digest_of(request.binding, arguments)``."""
        return Binding(
            **self.bound.model_dump(),
            request=self.id,
            agent_path=self.agent_path,
            tool=self.tool,
            call=self.call_id,
        )

    @property
    def of_server(self) -> bool:
        """Return whether an MCP server asks, in the middle of a call that goes on with the answer."""
        return self.kind == "question" and "mcp" in (self.facts or {})

    @property
    def order(self) -> tuple[datetime, int, int]:
        """Sorts requests of one run: oldest first, then as the model made the calls."""
        return self.requested_at, self.turn, self.position

    @property
    def escalated(self) -> list[Scheduled]:
        """Escalations that took place."""
        return [step for step in self.schedule or () if step.what == "escalate" and step.done_at is not None]


class Approve(Payload):
    """Let the call run; with `arguments`, run it with these instead (validated first)."""

    kind: Literal["approve"] = "approve"
    arguments: JsonObject | None = None


class Reject(Payload):
    """Do not run the call. The model reads `reason` word for word; None takes the run's default text."""

    kind: Literal["reject"] = "reject"
    reason: str | None = None


class Answer(Payload):
    """Do not run the call; the model gets `output` as its result."""

    kind: Literal["answer"] = "answer"
    output: JsonValue


class Ran(Payload):
    """An in-doubt call did take effect; the model gets `output` as its result."""

    kind: Literal["ran"] = "ran"
    output: JsonValue = "The call took effect; its output was lost."


class RunAgain(Payload):
    """An in-doubt call did not take effect: run it again."""

    kind: Literal["run_again"] = "run_again"


class GiveUp(Payload):
    """Leave an in-doubt call as it is; the model reads that its outcome is unknown."""

    kind: Literal["give_up"] = "give_up"


class Grant(Payload):
    """More turns, tokens, time or money for an exhausted budget."""

    kind: Literal["grant"] = "grant"
    turns: Turns | None = None
    tokens: Tokens | None = None
    seconds: Seconds | None = None
    cost: Cost | None = None


class BudgetFacts(Payload):
    """Facts of a *budget* request: which limit was reached.

    Attributes:
        used: Model replies, tokens or money of the loop and of everything below it, or seconds that these have worked.
        limit: How many were allowed, granted ones included.
        session: It is the budget of a whole session, and no limit of the message under way.
    """

    what: LimitKind
    used: int | Money
    limit: int | Money
    session: bool | None = None


class RaiseLimits(Payload):
    """The argument of the update `raise_limits`: more turns, tokens, time or money for a run that goes on.

    Attributes:
        frame: Which loop; None means the one that was started, where there is only one.
        by: Who raises them, a claimed name.
        session: Raise the budget of a whole session, which may be idle, in place of the limits of a message.
    """

    turns: Turns | None = None
    tokens: Tokens | None = None
    seconds: Seconds | None = None
    cost: Cost | None = None
    frame: Name | None = None
    by: Name | None = None
    session: bool | None = None


class LimitsRaised(Payload):
    """The answer of the update `raise_limits`: the limits by now; None where there is no limit or none is known yet.

    Attributes:
        request: The budget request that was closed by it as granted.
        session_turns: Budget of the whole session, where it has one; `session_tokens` and `session_cost` likewise.
    """

    frame: str
    max_turns: int | None = None
    max_tokens: int | None = None
    max_seconds: float | None = None
    max_cost: Money | None = None
    request: str | None = None
    session_turns: int | None = None
    session_tokens: int | None = None
    session_cost: Money | None = None


Verdict = Annotated[
    Approve | Reject | Answer | Ran | RunAgain | GiveUp | Grant,
    Field(discriminator="kind"),
]


class Decision(Payload):
    """A verdict on one request: the argument of the update and the signal `decide`.

    `decided_by` is a *claimed* name, unless `signature` vouches for it. `digest`, when given, must be the request's.
    `remember` says which later calls of the run it answers too.
    """

    id: Name
    verdict: Verdict
    decided_by: Name | None = None
    digest: str | None = None
    decision_id: Name | None = None
    note: Annotated[str, StringConstraints(max_length=4096)] | None = None
    remember: Remember | None = None
    signature: Signature | None = None

    @property
    def size(self) -> int:
        """Bytes on the wire; at most `DECISION_BYTES` are taken."""
        return len(self.model_dump_json(exclude_none=True).encode())


class Receipt(Payload):
    """The answer to a decision.

    Attributes:
        state: *recorded*: in the run's history, it counts. *stored*: the server keeps it until a worker returns; ask
            the query `decision` with the same id.
        duplicate: The same decision had been recorded before; this is its answer.
        open: True where it was counted and the request still waits: for more votes, or as `asked_again`.
        votes: Where the request has a quorum: how many have voted so by now.
        needed: How many that takes.
        asked_again: The request that opened for the edited arguments, in place of this one.
        signed_by: The key that vouches for `decided_by`; None: the name is claimed.
    """

    id: str
    verdict: str
    decided_by: str | None = None
    decision_id: str | None = None
    state: Literal["recorded", "stored"] = "recorded"
    duplicate: bool = False
    at: Instant | None = None
    open: bool | None = None
    votes: int | None = None
    needed: int | None = None
    asked_again: str | None = None
    signed_by: SignedBy | None = None


class DecisionOutcome(Payload):
    """The answer of the query `decision`: recorded, refused, or unknown yet."""

    decision_id: str
    state: Literal["unknown", "recorded", "refused"]
    receipt: Receipt | None = None
    error: str | None = None
    message: str | None = None


class Transition(Payload):
    """One step of the ledger, as it is written to the history in the memo.

    Attributes:
        what: *voided*: an approval no longer holds, and a person is asked anew, with what has changed; with the verdict
            *give_up* nobody is any more, and the call has not run.
            *voted*: counted, and more are needed. *edited*: closed, as its arguments were changed and are asked about
            anew. *repeated*: a decision came once more, and got the receipt of the first time. *remembered*: an earlier
            decision answered a call, which was not asked about. *sent*: a message was taken. *placed*: it stands before
            the next model call. *answered*: a session ended its turn; `why` says how that failed, if it did.
            *taken_back*: of its messages, which are no part of the conversation any more.
            *message_refused*: `why` says the reason; what it said stands in the history, where it came in. *reviewed*:
            a reviewer has judged a request, with `confidence`; `left` says why people decide it nevertheless.
        frame: The loop that it is about, where no request says it; `call` likewise.
        message: The id of the message that it is about; `block` that of the reply which answers it.
        due: Of *reminded* and *escalated*, when that was to be; it took place at `at`.
        approvers: Of *escalated*: who may decide too.
        signed_by: The key that vouches for `by`; None: the name is claimed.
    """

    what: (
        Literal["opened", "voted", "decided", "edited", "repeated", "remembered", "voided"]
        | Literal["refused", "expired", "withdrawn", "in_doubt", "limits_raised"]
        | Literal["sent", "placed", "answered", "taken_back", "message_refused"]
        | Literal["compacted", "compaction_failed", "verified"]
        | Literal["reminded", "escalated", "notify_failed", "reviewed"]
    )
    at: Instant
    request: str | None = None
    verdict: str | None = None
    by: str | None = None
    decision_id: str | None = None
    why: str | None = None
    remember: Remember | None = None
    frame: str | None = None
    call: str | None = None
    message: str | None = None
    block: str | None = None
    due: Instant | None = None
    approvers: list[str] | None = None
    signed_by: SignedBy | None = None
    confidence: Share | None = None
    left: LeftBecause | None = None


class Flood(Payload):
    """Counts of signals that a run refused unread, by their names (``""`` are names that it does not know)."""

    refused: dict[str, int]
    at: Instant


MEMO_FLOOD = "handfast.flood"
"""Memo key of the newest `Flood`."""
MEMO_REQUEST = "handfast.request."
"""Memo key of one open request, followed by its id; set when it opens, cleared when it closes."""
MEMO_LOG = "handfast.log"
"""Memo key of the ledger transitions of the workflow task that wrote it."""


WHY_BYTES = 600
"""Most bytes of the words that say what has changed."""
SHOWN_BYTES = 600
"""Most bytes of each value shown with them; of a larger one the start, as text. All of it goes into the memo."""


class Difference(Payload):
    """The difference by which an approval no longer holds.

    Attributes:
        before: What was true then, as far as it is said; `now` likewise.
    """

    why: str
    before: JsonValue = None
    now: JsonValue = None


class ChangedFacts(Difference):
    """Facts of a request that opened because what had been approved has changed, as its ``facts["changed"]``.

    Attributes:
        request: The one that had been approved; None where nobody had to be asked before.
        by: Who had approved it, where that was said.
    """

    request: str | None = None
    by: str | None = None


class CancelCall(Payload):
    """Argument of the update `cancel_call`.

    Attributes:
        call_id: The model's id of the call, as `CallStatus` and requests have it.
        frame: Which loop, where several have a call of this id; `Request.frame` says it.
        reason: The model reads it.
        by: Who cancels: a claimed name.
    """

    call_id: Name
    frame: Annotated[str, StringConstraints(max_length=64)] | None = None
    reason: Reason | None = None
    by: Claimed | None = None


class CallCancelled(Payload):
    """Answer of the update `cancel_call`.

    Attributes:
        state: *cancelling*: it runs, and was told to stop; what it does then becomes its output. *cancelled*: it had
            not begun, and will not.
    """

    call_id: str
    tool: str
    frame: str
    state: Literal["cancelling", "cancelled"]
