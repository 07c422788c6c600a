"""MCP servers: whose tools an agent's model may call, under Handfast's own approvals and effects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Self, TypeAlias, TypedDict, TypeVar, cast, get_args

from typing_extensions import Unpack

from handfast.definitions.checks import (
    a_kind,
    check_bool,
    check_choice,
    check_duration,
    check_mapping,
    check_text,
    listed,
)
from handfast.definitions.gates.approval import ApprovalRule
from handfast.definitions.gates.doubt import OnUnknown
from handfast.definitions.secret import Secret
from handfast.definitions.tools.function_tool import ErrorPolicy, check_options
from handfast.definitions.tools.offered import check_approval, check_name
from handfast.errors import DefinitionError
from handfast.payloads.model_call import Effect
from handfast.payloads.tool_call import TOOL_TIMEOUT

__all__ = ["HttpTransport", "McpOptions", "McpServer", "StdioTransport", "checked_servers"]

START_WITHIN: Final = timedelta(seconds=30)
LONGEST_START: Final = timedelta(minutes=5)
LONGEST_PREFIX: Final = 32

OptionT = TypeVar("OptionT")
PerTool: TypeAlias = Mapping[str, OptionT]


@dataclass(frozen=True, kw_only=True)
class StdioTransport:
    """A server that is a process of each worker's own.

    Attributes:
        environment: Added to the few variables that a server inherits (PATH, HOME and the like).
        directory: In which it runs; None is the worker's.
    """

    command: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str | Secret] = field(default_factory=dict, hash=False, repr=False)
    directory: str | None = None


@dataclass(frozen=True, kw_only=True)
class HttpTransport:
    """A server that speaks MCP's streamable HTTP.

    Attributes:
        auth: A bearer token, or an ``httpx2.Auth``, as the OAuth providers of ``mcp.client.auth`` are.
    """

    url: str
    headers: Mapping[str, str | Secret] = field(default_factory=dict, hash=False, repr=False)
    auth: Any = field(default=None, hash=False, repr=False)


class McpOptions(TypedDict, total=False):
    """Options that `McpServer.stdio` and `McpServer.http` share; `McpServer` describes them."""

    tools: Sequence[str] | None
    prefix: str
    approval: ApprovalRule | PerTool[ApprovalRule] | None
    effect: Effect | PerTool[Effect] | None
    on_unknown: OnUnknown | None
    on_error: ErrorPolicy
    timeout: timedelta
    start_within: timedelta
    required: bool
    resources: bool
    prompts: bool


@dataclass(frozen=True, kw_only=True)
class McpServer:
    """A server of the Model Context Protocol. Made by `McpServer.stdio` or `McpServer.http`, given as ``mcp=[…]``.

    What a server says of its tools is a claim of the server's: for one that you do not trust, write ``approval=True``
    and ``effect="at_most_once"``, and its hints count for nothing.

    Attributes:
        name: Names it in requests, and is part of its activity's type, ``handfast.mcp.<name>``.
        transport: How it is reached.
        tools: Names of its tools that are offered; None is all.
        prefix: Put before their names, as the model calls them.
        approval: As `handfast.tool`, for all its tools, or by the name of a tool (then the others are as with None). A
            rule gets the run context and a `McpCall`. None: a person is asked, except where the effect is
            ``"read_only"``.
        effect: As `handfast.tool`, likewise. None: as the tool's annotations say; ``"at_most_once"`` without any.
        on_unknown: As `handfast.tool`.
        on_error: As `handfast.tool`.
        timeout: Longest time for one call.
        start_within: Longest time until it has started and listed its tools.
        required: While it cannot be reached, the model is not called. False: it is called without its tools.
        resources: The model is also offered ``list_resources`` and ``read_resource``, which only read.
        prompts: Likewise ``list_prompts`` and ``get_prompt``.
    """

    name: str
    transport: StdioTransport | HttpTransport
    tools: tuple[str, ...] | None = None
    prefix: str = ""
    approval: ApprovalRule | PerTool[ApprovalRule] | None = field(default=None, hash=False)
    effect: Effect | PerTool[Effect] | None = field(default=None, hash=False)
    on_unknown: OnUnknown | None = None
    on_error: ErrorPolicy = "tell_model"
    timeout: timedelta = TOOL_TIMEOUT
    start_within: timedelta = START_WITHIN
    required: bool = True
    resources: bool = False
    prompts: bool = False

    def __post_init__(self) -> None:
        subject = f"MCP server {self.name!r}"
        check_name(subject, self.name)
        if not isinstance(cast(object, self.transport), StdioTransport | HttpTransport):
            raise DefinitionError(subject, "make it by McpServer.stdio(…) or McpServer.http(…)")
        if self.tools is not None:
            names = listed(subject, "tools", self.tools, "names")
            for each in names:
                check_text(subject, "a name among tools", each, filled=True)
            object.__setattr__(self, "tools", tuple(names))
        self._check_prefix(subject)
        object.__setattr__(self, "approval", _per_tool(subject, "approval", self.approval, check_approval))
        object.__setattr__(self, "effect", _per_tool(subject, "effect", self.effect, _check_effect))
        check_options(subject, "at_most_once", self.on_unknown, self.timeout)
        check_choice(subject, "on_error", self.on_error, get_args(ErrorPolicy))
        check_duration(subject, "start_within", self.start_within, most=LONGEST_START)
        for option in ("required", "resources", "prompts"):
            check_bool(subject, option, getattr(self, option))

    @classmethod
    def stdio(
        cls,
        name: str,
        command: str,
        *arguments: str,
        env: Mapping[str, str | Secret] | None = None,
        cwd: str | None = None,
        **options: Unpack[McpOptions],
    ) -> Self:
        """A server that each worker runs as a process of its own: ``McpServer.stdio("files", "npx", "-y", …)``.

        Args:
            name: See `McpServer`.
            command: The program.
            arguments: Its arguments.
            env: Environment variables for it; a value may be a `Secret`. Of the worker's own it inherits a few only.
            cwd: The directory in which it runs.
            options: See `McpServer`.

        Raises:
            DefinitionError: Something about it cannot work.
        """
        subject = f"MCP server {name!r}"
        check_text(subject, "command", command, filled=True)
        for each in arguments:
            check_text(subject, "an argument of the command", each)
        check_text(subject, "cwd", cwd, filled=True, none=True)
        environment = _values(subject, "env", env)
        made = StdioTransport(command=command, arguments=arguments, environment=environment, directory=cwd)
        return cls(name=name, transport=made, **cast(Any, options))

    @classmethod
    def http(
        cls,
        name: str,
        url: str,
        *,
        headers: Mapping[str, str | Secret] | None = None,
        auth: Any = None,
        **options: Unpack[McpOptions],
    ) -> Self:
        """A server that is reached by streamable HTTP.

        Args:
            name: See `McpServer`.
            url: Its address.
            headers: Sent with every request; a value may be a `Secret`.
            auth: A bearer token, as a text or a `Secret`; or an ``httpx2.Auth``, as ``mcp.client.auth`` has them.
            options: See `McpServer`.

        Raises:
            DefinitionError: Something about it cannot work.
        """
        subject = f"MCP server {name!r}"
        check_text(subject, "url", url, filled=True)
        if not url.startswith(("http://", "https://")):
            raise DefinitionError(subject, f"url must begin with http:// or https://, not {a_kind(url)}")
        if not (auth is None or isinstance(auth, str | Secret) or hasattr(auth, "async_auth_flow")):
            raise DefinitionError(subject, f"auth must be a token, a Secret, or an httpx2.Auth, not {a_kind(auth)}")
        made = HttpTransport(url=url, headers=_values(subject, "headers", headers), auth=auth)
        return cls(name=name, transport=made, **cast(Any, options))

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The secrets that it needs to be reached."""
        match self.transport:
            case StdioTransport(environment=environment):
                given = [*environment.values()]
            case HttpTransport(headers=headers, auth=auth):
                given = [*headers.values(), auth]
        return tuple(each for each in given if isinstance(each, Secret))

    def offers(self, tool: str) -> bool:
        """Return whether its tool of that name is offered."""
        return self.tools is None or tool in self.tools

    def effect_of(self, tool: str, annotations: Mapping[str, Any]) -> Effect:
        """Return the effect of one of its tools: as the developer says, else as the server's hints do.

        Args:
            tool: The server's own name of it.
            annotations: The hints; missing ones, and any that is no bool, say nothing.
        """
        chosen = self.effect.get(tool) if isinstance(self.effect, Mapping) else self.effect
        if chosen is not None:
            return chosen
        if annotations.get("readOnlyHint") is True and annotations.get("destructiveHint") is not True:
            return "read_only"
        return "idempotent" if annotations.get("idempotentHint") is True else "at_most_once"

    def approval_of(self, tool: str, effect: Effect) -> ApprovalRule:
        """Return the approval rule of one of its tools."""
        chosen = self.approval.get(tool) if isinstance(self.approval, Mapping) else self.approval
        return effect != "read_only" if chosen is None else chosen

    @property
    def approvals(self) -> tuple[ApprovalRule, ...]:
        """Every approval rule that the developer gave."""
        rules = self.approval.values() if isinstance(self.approval, Mapping) else [self.approval]
        return tuple(each for each in rules if each is not None)

    def _check_prefix(self, subject: str) -> None:
        check_text(subject, "prefix", self.prefix)
        if self.prefix:
            check_name(f"{subject}, prefix", self.prefix)
        if len(self.prefix) > LONGEST_PREFIX:
            raise DefinitionError(subject, f"prefix has {len(self.prefix)} characters; at most {LONGEST_PREFIX} go")


def _per_tool(subject: str, option: str, given: Any, check: Callable[[str, Any], None]) -> Any:
    """Check an option that is one for all tools or, in a mapping, one for each."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        check(subject, given)
        return given
    check_mapping(subject, option, given)
    for tool, each in given.items():
        check(f"{subject}, tool {tool!r}", each)
    return dict(given)


def _check_effect(subject: str, effect: object) -> None:
    check_choice(subject, "effect", effect, get_args(Effect))


def _values(subject: str, option: str, given: Mapping[str, str | Secret] | None) -> dict[str, str | Secret]:
    if given is None:
        return {}
    check_mapping(subject, option, given)
    for name, each in given.items():
        if not isinstance(each, Secret):
            check_text(subject, f"{option}[{name!r}]", each)
    return dict(given)


def checked_servers(subject: str, servers: object) -> tuple[McpServer, ...]:
    """Return MCP servers as a tuple.

    Raises:
        DefinitionError: For *subject*: one of them is no server, or two have one name.
    """
    seen: dict[str, McpServer] = {}
    for each in listed(subject, "mcp", servers, "MCP servers"):
        if not isinstance(each, McpServer):
            remedy = "; make one by McpServer.stdio(…) or McpServer.http(…)"
            raise DefinitionError(subject, f"mcp must hold MCP servers, not {a_kind(each)}{remedy}")
        if each.name in seen:
            raise DefinitionError(subject, f"two of its MCP servers are named {each.name!r}; rename one")
        seen[each.name] = each
    return tuple(seen.values())
