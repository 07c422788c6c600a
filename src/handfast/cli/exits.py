"""Exit codes of the command line, and which error leads to which. `docs/cli.md` has the same table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from handfast import errors

OK: Final = 0
RUN_FAILED: Final = 1
"""The run ended without an answer."""
BAD_INPUT: Final = 2
"""Wrong usage, or an input that cannot be used; nothing was done."""
NOT_FOUND: Final = 3
"""No such run or request."""
REFUSED: Final = 4
"""The decision or message was not taken, or a run of that id goes on already."""
NO_SERVER: Final = 5
"""No server answers, or none could be started."""
WAITS: Final = 6
"""The run waits for a person, and the command was told not to."""
CANCELLED: Final = 7
"""The run was cancelled."""
NOT_SET_UP: Final = 8
"""The namespace is missing, lacks our search attributes, or refuses the rights; or a store cannot be used."""
UNCONFIRMED: Final = 9
"""The server has it, and what became of it is not known yet."""
UNHEALTHY: Final = 10
"""`doctor` found something that does not work."""
BUG: Final = 70
"""An error that nobody foresaw."""
INTERRUPTED: Final = 130
"""Ctrl-C."""
CLOSED_PIPE: Final = 141
"""The reader of the output went away, as `head` does."""
TERMINATED: Final = 143
"""SIGTERM, while a server was being started."""


class InputError(errors.HandfastError):
    """An argument of the command cannot be used; nothing was done."""


CODES: Final[Mapping[type[errors.HandfastError], int]] = {
    InputError: BAD_INPUT,
    errors.ArgumentsInvalidError: BAD_INPUT,
    errors.ConnectionProfileError: BAD_INPUT,
    errors.ConverterIncompatibleError: BAD_INPUT,
    errors.DecisionInvalidError: BAD_INPUT,
    errors.MessageInvalidError: BAD_INPUT,
    errors.DefinitionError: BAD_INPUT,
    errors.JsonProfileError: BAD_INPUT,
    errors.OffsetUnknownError: BAD_INPUT,
    errors.PayloadInvalidError: BAD_INPUT,
    errors.TargetError: BAD_INPUT,
    errors.UnknownAgentError: BAD_INPUT,
    errors.UnknownToolError: BAD_INPUT,
    errors.UsageError: BAD_INPUT,
    errors.AnswerExpiredError: NOT_FOUND,
    errors.HistoryExpiredError: NOT_FOUND,
    errors.RunNotFoundError: NOT_FOUND,
    errors.UnknownRequestError: NOT_FOUND,
    errors.RefusalError: REFUSED,
    errors.RunExistsError: REFUSED,
    errors.RunGoesOnError: REFUSED,
    errors.SignalLimitError: REFUSED,
    errors.UpdateLimitError: REFUSED,
    errors.PortBusyError: NO_SERVER,
    errors.ServerBinaryMissingError: NO_SERVER,
    errors.ServerFailedError: NO_SERVER,
    errors.ServerStartError: NO_SERVER,
    errors.ServerUnavailableError: NO_SERVER,
    errors.OutcomeUnknownError: RUN_FAILED,
    errors.OutputInvalidError: RUN_FAILED,
    errors.RunFailedError: RUN_FAILED,
    errors.RunCancelledError: CANCELLED,
    errors.WaitingForPeople: WAITS,
    errors.ArchiveDamagedError: NOT_SET_UP,
    errors.ArchiveUnavailableError: NOT_SET_UP,
    errors.ArtifactError: NOT_SET_UP,
    errors.ArtifactsUnavailableError: NOT_SET_UP,
    errors.HistoryUnreadableError: NOT_SET_UP,
    errors.KeyMissingError: NOT_SET_UP,
    errors.McpUnavailableError: NOT_SET_UP,
    errors.PayloadUnreadableError: NOT_SET_UP,
    errors.SealBrokenError: NOT_SET_UP,
    errors.SecretMissingError: NOT_SET_UP,
    errors.SecretUnavailableError: NOT_SET_UP,
    errors.NamespaceNotFoundError: NOT_SET_UP,
    errors.SearchAttributesMissingError: NOT_SET_UP,
}


def code_of(error: errors.HandfastError) -> int:
    """Return the code of the error's own class, or of the nearest one that it inherits from."""
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), BUG)
