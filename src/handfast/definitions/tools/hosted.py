"""Tools that the model's provider runs itself: sent as they are; their items come back in the reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from handfast.definitions.checks import check_bool, check_mapping, check_text, listed
from handfast.definitions.gates.approval import ApprovalRule
from handfast.definitions.tools.offered import Offered, check_approval, check_name
from handfast.errors import DefinitionError, JsonProfileError
from handfast.payloads.json_profile import JsonObject, check_json

__all__ = [
    "HostedMcp",
    "HostedTool",
    "McpCall",
    "code_interpreter",
    "file_search",
    "hosted_from",
    "hosted_mcp",
    "image_generation",
    "split_hosted",
    "web_search",
]

RUN_HERE: Final = {
    "function": "make it of a function, with @tool",
    "custom": "make it of a function, with @custom_tool",
    **dict.fromkeys(("local_shell", "shell", "apply_patch"), "shell_tool() and @tool do that"),
    **dict.fromkeys(("computer", "computer_use_preview", "computer-preview"), "make it of functions, with @tool"),
}
"""Types of tool whose calls wait for an output of this side."""


@dataclass(frozen=True, kw_only=True)
class HostedTool:
    """A tool that the provider runs. Made by `web_search` and the others.

    Attributes:
        kind: The tool's type in a Responses request.
        options: Its other fields; they may hold secrets, and are never recorded.
        include: Further contents of a reply, as the API's ``include`` names them.
    """

    kind: str
    options: JsonObject = field(hash=False, repr=False)
    include: tuple[str, ...] = ()

    def definition(self) -> JsonObject:
        """Describe it to the provider, as a tool of a Responses request."""
        return {"type": self.kind, **self.options}


@dataclass(frozen=True, kw_only=True)
class HostedMcp(HostedTool):
    """An MCP server that the provider calls. Made by `hosted_mcp`.

    Attributes:
        server_label: Name of the server in requests and items.
        approval: Rule that answers when the provider asks whether it may call the server.
    """

    server_label: str
    approval: ApprovalRule


@dataclass(frozen=True, slots=True)
class McpCall:
    """A call of a hosted MCP server, for an approval rule.

    Attributes:
        server_label: The server.
        name: The server's tool.
        arguments: As the model wrote them.
    """

    server_label: str
    name: str
    arguments: JsonObject


def web_search(*, sources: bool = False, **options: Any) -> HostedTool:
    """Let the provider search the web.

    Args:
        sources: The ``web_search_call`` items of a run hold all pages that were looked at, not only the cited ones.
        options: Fields of the API's tool: ``search_context_size``, ``filters``, ``user_location``…

    Raises:
        DefinitionError: An option is no JSON.
    """
    check_bool("web_search", "sources", sources)
    return _hosted("web_search", options, include=["web_search_call.action.sources"] if sources else [])


def file_search(vector_store_ids: Sequence[str], *, results: bool = False, **options: Any) -> HostedTool:
    """Let the provider search files that it stores.

    Args:
        vector_store_ids: Ids of the stores to search; at least one.
        results: The ``file_search_call`` items of a run hold what was found.
        options: Further fields of the API's tool: ``max_num_results``, ``filters``, ``ranking_options``.

    Raises:
        DefinitionError: There is no store, or an option is no JSON.
    """
    stores = listed("file_search", "vector_store_ids", vector_store_ids, "ids")
    if not stores:
        raise DefinitionError("file_search", "vector_store_ids must hold at least one id")
    for each in stores:
        check_text("file_search", "an id among vector_store_ids", each, filled=True)
    check_bool("file_search", "results", results)
    found = ["file_search_call.results"] if results else []
    return _hosted("file_search", {**options, "vector_store_ids": stores}, include=found)


def code_interpreter(
    container: str | Mapping[str, Any] | None = None, *, outputs: bool = False, **options: Any
) -> HostedTool:
    """Let the provider run Python code that the model writes, in a container of its own.

    Args:
        container: Id of a container, or the fields of a new one; None is a new one with the API's defaults.
        outputs: The ``code_interpreter_call`` items of a run hold what the code printed and drew.
        options: Further fields of the API's tool.

    Raises:
        DefinitionError: An option is no JSON.
    """
    if container is not None and not isinstance(container, str):
        check_mapping("code_interpreter", "container", container)
    wanted = {"type": "auto"} if container is None else container if isinstance(container, str) else dict(container)
    check_bool("code_interpreter", "outputs", outputs)
    printed = ["code_interpreter_call.outputs"] if outputs else []
    return _hosted("code_interpreter", {**options, "container": wanted}, include=printed)


def image_generation(**options: Any) -> HostedTool:
    """Let the provider make images. They enter the run's history in base64: ask for small ones.

    Args:
        options: Fields of the API's tool: ``size``, ``quality``, ``output_format``…

    Raises:
        DefinitionError: An option is no JSON.
    """
    return _hosted("image_generation", options)


def hosted_mcp(
    server_label: str,
    *,
    server_url: str | None = None,
    connector_id: str | None = None,
    approval: ApprovalRule = True,
    require_approval: str | Mapping[str, Any] | None = None,
    allowed_tools: Sequence[str] | Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    authorization: str | None = None,
    **options: Any,
) -> HostedMcp:
    """Let the provider call an MCP server.

    Args:
        server_label: Names the server, as an agent is named; unique within an agent.
        server_url: Address of the server. This or *connector_id*.
        connector_id: One of the provider's own connectors.
        approval: Answer to the provider's question before a call: True and `Approval` ask a person; False says yes; a
            rule gets the run context and a `McpCall`.
        require_approval: Calls before which the provider asks, as the API takes it: ``"always"``, ``"never"`` or a
            filter. By default always, and never where *approval* is False.
        allowed_tools: Names of the server's tools that the model may use, as the API takes it.
        headers: Sent to the server with every call. Like *authorization* in the model's request alone, never recorded.
        authorization: An access token for the server.
        options: Further fields of the API's tool.

    Raises:
        DefinitionError: Something about it cannot work.
    """
    subject = f"hosted MCP server {server_label!r}"
    check_name(subject, server_label)
    if (server_url is None) == (connector_id is None):
        raise DefinitionError(subject, "give either server_url or connector_id")
    check_approval(subject, approval)
    for option, text in (("server_url", server_url), ("connector_id", connector_id), ("authorization", authorization)):
        check_text(subject, option, text, filled=True, none=True)
    if headers is not None:
        check_mapping(subject, "headers", headers)
    if allowed_tools is not None and not isinstance(allowed_tools, Mapping):
        allowed_tools = listed(subject, "allowed_tools", allowed_tools, "names")
    given: dict[str, Any] = {
        "server_url": server_url,
        "connector_id": connector_id,
        "allowed_tools": allowed_tools,
        "headers": headers,
        "authorization": authorization,
    }
    asked = require_approval if require_approval is not None else "never" if approval is False else "always"
    fields = {key: dict(each) if isinstance(each, Mapping) else each for key, each in given.items() if each is not None}
    fields["require_approval"] = dict(asked) if isinstance(asked, Mapping) else asked
    checked = _checked(subject, {**options, "server_label": server_label, **fields})
    return HostedMcp(kind="mcp", options=checked, server_label=server_label, approval=approval)


def hosted_from(subject: str, given: Mapping[str, Any]) -> HostedTool:
    """Make a hosted tool of a plain tool of the Responses API.

    Raises:
        DefinitionError: It has no type, is no JSON, or is run on this side.
    """
    check_mapping(subject, "a tool that is a dict", given)
    kind, options = given.get("type"), {key: value for key, value in given.items() if key != "type"}
    if not isinstance(kind, str) or not kind:
        raise DefinitionError(subject, "a tool that is a dict needs a type, as the provider's API names it")
    if kind in RUN_HERE:
        raise DefinitionError(subject, f"a tool of type {kind!r} is run on your side; {RUN_HERE[kind]}")
    if kind != "mcp":
        return _hosted(kind, options)
    label = options.pop("server_label", None)
    return hosted_mcp(label, approval=options.get("require_approval") != "never", **options)


def split_hosted(
    subject: str, tools: Sequence[Offered | HostedTool | Mapping[str, Any] | Callable[..., Any]]
) -> tuple[list[Offered | Callable[..., Any]], tuple[HostedTool, ...]]:
    """Separate tools that the provider runs from those that are run here.

    Raises:
        DefinitionError: Two servers have one label, or a dict is no tool.
    """
    tools = [hosted_from(subject, each) if isinstance(each, Mapping) else each for each in tools]
    hosted = tuple(each for each in tools if isinstance(each, HostedTool))
    labels = [each.server_label for each in hosted if isinstance(each, HostedMcp)]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise DefinitionError(subject, f"two of its hosted MCP servers are labelled {twice!r}; rename one")
    return [each for each in tools if not isinstance(each, HostedTool | Mapping)], hosted


def _hosted(kind: str, options: Mapping[str, Any], *, include: Sequence[str] = ()) -> HostedTool:
    return HostedTool(kind=kind, options=_checked(kind, options), include=tuple(include))


def _checked(subject: str, options: Mapping[str, Any]) -> JsonObject:
    copied = dict(options)
    if "type" in copied:
        raise DefinitionError(subject, "the type is given by the function; leave it out")
    try:
        check_json(copied)
    except JsonProfileError as error:
        raise DefinitionError(subject, f"its options must be JSON: {error.problem}") from None
    return copied
