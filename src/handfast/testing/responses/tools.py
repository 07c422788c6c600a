"""The tools that a request offers: functions, custom tools, and what the provider runs itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from handfast.testing.record import Json
from handfast.testing.responses.content import file_id, image_address
from handfast.testing.responses.refusal import ApiRefusal, missing, wrong_type
from handfast.testing.responses.schema import NAME, schema_problem
from handfast.testing.responses.values import (
    Check,
    anything,
    array,
    boolean,
    decimal,
    each,
    fields,
    integer,
    mapping,
    nullable,
    one_of,
    shape,
    string,
    string_or,
    strings,
    tagged,
    text,
    values,
)

HOSTED_CHOICES: Final = (
    *("apply_patch", "code_interpreter", "computer", "computer_use", "computer_use_preview", "file_search"),
    *("image_generation", "programmatic_tool_calling", "shell", "web_search", "web_search_2025_08_26"),
    *("web_search_preview", "web_search_preview_2025_03_11"),
)
"""Types of tool that a `tool_choice` may name without saying more."""
_MAX_TOOLS: Final = 128
_CALLERS: Final = nullable(strings("direct", "programmatic"))


def check_tools(value: object, param: str) -> None:
    """Check every tool, and that no two share a name or label.

    Raises:
        ApiRefusal: The real API would refuse them.
    """
    tools = array(value, param)
    if len(tools) > _MAX_TOOLS:
        message = (
            f"Invalid '{param}': array too long. Expected an array with maximum length {_MAX_TOOLS}, "
            f"but got an array with length {len(tools)} instead."
        )
        raise ApiRefusal(message, param, "array_above_max_length")
    names: set[str] = set()
    labels: set[str] = set()
    for index, entry in enumerate(tools):
        place = f"{param}[{index}]"
        tool = mapping(entry, place)
        if "type" not in tool:
            raise missing(f"{place}.type")
        one_of(*_CHECKS)(tool["type"], f"{place}.type")
        _CHECKS[tool["type"]](tool, place)
        if tool["type"] in ("function", "custom"):
            if tool["name"] in names:
                message = f"Invalid '{param}': duplicate function name '{tool['name']}'. Function names must be unique."
                raise ApiRefusal(message, f"{place}.name", "invalid_value")
            names.add(tool["name"])
        elif tool["type"] == "mcp":
            if tool["server_label"] in labels:
                message = f"Duplicate MCP server_label found: '{tool['server_label']}'."
                raise ApiRefusal(message, param, "invalid_value")
            labels.add(tool["server_label"])


def _name(value: object, param: str) -> None:
    string(value, param, minimum=1, maximum=64, pattern=NAME)


def _function(tool: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "name": _name,
        "description": nullable(text()),
        "parameters": nullable(mapping),
        "strict": nullable(boolean),
        "allowed_callers": _CALLERS,
        "async": boolean,
        "defer_loading": boolean,
        "output_schema": nullable(mapping),
    }
    fields(tool, param, known, ("name",))
    parameters = tool.get("parameters")
    strict = tool.get("strict") is True
    if parameters is None and not strict:
        return
    problem = schema_problem(parameters, strict=strict)
    if problem is not None:
        message = f"Invalid schema for function '{tool['name']}': {problem}"
        raise ApiRefusal(message, f"{param}.parameters", "invalid_function_parameters")


def _custom(tool: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "name": _name,
        "description": text(),
        "format": _format,
        "allowed_callers": _CALLERS,
        "async": boolean,
        "defer_loading": boolean,
    }
    fields(tool, param, known, ("name",))


def _format(value: object, param: str) -> None:
    given = mapping(value, param)
    if "type" not in given:
        raise missing(f"{param}.type")
    one_of("text", "grammar")(given["type"], f"{param}.type")
    if given["type"] == "text":
        fields(given, param, {"type": anything})
        return
    known: dict[str, Check] = {"type": anything, "syntax": one_of("lark", "regex"), "definition": text()}
    fields(given, param, known, ("syntax", "definition"))


_PLACE: Final[dict[str, Check]] = {
    "type": one_of("approximate"),
    **dict.fromkeys(("city", "country", "region", "timezone"), nullable(text())),
}
_CONTEXT_SIZE: Final = one_of("low", "medium", "high")


def _web_search(tool: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "external_web_access": boolean,
        "filters": nullable(shape({"allowed_domains": nullable(strings())})),
        "search_context_size": _CONTEXT_SIZE,
        "user_location": nullable(shape(_PLACE)),
    }
    fields(tool, param, known)


def _web_search_preview(tool: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "search_content_types": strings("text", "image"),
        "search_context_size": _CONTEXT_SIZE,
        "user_location": nullable(shape(_PLACE, ("type",))),
    }
    fields(tool, param, known)


_COMPARED: Final = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin")


def _compared_with(value: object, param: str) -> None:
    for index, entry in enumerate(value if isinstance(value, list) else [value]):
        if not isinstance(entry, str | int | float):
            raise wrong_type(f"{param}[{index}]" if isinstance(value, list) else param, "a string", entry)


def _filter(value: object, param: str) -> None:
    given = mapping(value, param)
    one_of(*_COMPARED, "and", "or")(given.get("type"), f"{param}.type")
    if given["type"] in _COMPARED:
        fields(given, param, {"type": anything, "key": text(), "value": _compared_with}, ("key", "value"))
    else:
        fields(given, param, {"type": anything, "filters": each(_filter)}, ("filters",))


def _file_search(tool: Json, param: str) -> None:
    weights = dict.fromkeys(("embedding_weight", "text_weight"), decimal(0))
    ranking: dict[str, Check] = {
        "hybrid_search": shape(weights, tuple(weights)),
        "ranker": one_of("auto", "default-2024-11-15"),
        "score_threshold": decimal(0, 1),
    }
    known: dict[str, Check] = {
        "type": anything,
        "vector_store_ids": strings(),
        "filters": nullable(_filter),
        "max_num_results": integer(1, 50),
        "ranking_options": shape(ranking),
    }
    fields(tool, param, known, ("vector_store_ids",))


_MEMORY: Final = nullable(one_of("1g", "4g", "16g", "64g"))
_SECRET: Final[dict[str, Check]] = {"domain": text(), "name": text(), "value": text()}
_NETWORK: Final = tagged(
    {
        "disabled": ({}, ()),
        "allowlist": (
            {"allowed_domains": strings(), "domain_secrets": each(shape(_SECRET, tuple(_SECRET)))},
            ("allowed_domains",),
        ),
    }
)


def _code_interpreter(tool: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "container": string_or(_OWN_CONTAINER, "an object"),
        "allowed_callers": _CALLERS,
    }
    fields(tool, param, known, ("container",))


_OWN_CONTAINER: Final = tagged(
    {"auto": ({"file_ids": strings(), "memory_limit": _MEMORY, "network_policy": _NETWORK}, ())}
)


_EFFORT: Final = one_of("none", "minimal", "low", "medium", "high", "xhigh", "max")


def _image_generation(tool: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "action": one_of("generate", "edit", "auto"),
        "background": one_of("transparent", "opaque", "auto"),
        "complexity": one_of("low", "medium", "high"),
        "frame_count": integer(1),
        "frame_duration_ms": integer(1),
        "input_fidelity": nullable(one_of("high", "low")),
        "input_image_mask": shape({"file_id": file_id, "image_url": image_address}),
        "model": text(),
        "moderation": one_of("auto", "low"),
        "output_compression": integer(0, 100),
        "output_format": one_of("png", "webp", "jpeg", "gif", "svg"),
        "partial_images": integer(0, 3),
        "quality": one_of("low", "medium", "high", "xhigh", "max", "auto"),
        "size": text(),
        "svg": shape({"model": text(), "reasoning": nullable(shape({"effort": _EFFORT}))}),
    }
    fields(tool, param, known)


_CONNECTORS: Final = (
    *("connector_dropbox", "connector_gmail", "connector_googlecalendar", "connector_googledrive"),
    *("connector_microsoftteams", "connector_outlookcalendar", "connector_outlookemail", "connector_sharepoint"),
)


def _mcp(tool: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "server_label": lambda value, place: string(value, place, minimum=1),
        "server_url": text(),
        "connector_id": one_of(*_CONNECTORS),
        "tunnel_id": text(),
        "server_description": text(),
        "authorization": text(),
        "headers": nullable(values(text())),
        "allowed_tools": nullable(_mcp_tools),
        "allowed_callers": _CALLERS,
        "require_approval": nullable(_require_approval),
        "defer_loading": boolean,
    }
    fields(tool, param, known, ("server_label",))
    places = [name for name in ("server_url", "connector_id", "tunnel_id") if name in tool]
    if len(places) != 1:
        message = "Exactly one of 'server_url', 'connector_id' or 'tunnel_id' must be provided."
        raise ApiRefusal(message, f"{param}.server_url", "missing_required_parameter")


def _mcp_tools(value: object, param: str) -> None:
    if isinstance(value, list):
        strings()(value, param)
    else:
        fields(mapping(value, param), param, {"read_only": boolean, "tool_names": strings()})


def _require_approval(value: object, param: str) -> None:
    if isinstance(value, str):
        one_of("always", "never")(value, param)
    else:
        fields(mapping(value, param), param, {"always": _mcp_tools, "never": _mcp_tools})


def _computer_preview(tool: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "display_height": integer(1),
        "display_width": integer(1),
        "environment": one_of("windows", "mac", "linux", "ubuntu", "browser"),
    }
    fields(tool, param, known, ("display_height", "display_width", "environment"))


_SOURCE: Final[dict[str, Check]] = {
    "type": one_of("base64"),
    "media_type": one_of("application/zip"),
    "data": text(),
}
_LOCAL_SKILL: Final[dict[str, Check]] = {"description": text(), "name": text(), "path": text()}
_SKILL: Final = tagged(
    {
        "skill_reference": ({"skill_id": text(), "version": text()}, ("skill_id",)),
        "inline": (
            {"description": text(), "name": text(), "source": shape(_SOURCE, tuple(_SOURCE))},
            ("description", "name", "source"),
        ),
    }
)
LOCAL_SKILLS: Final = each(shape(_LOCAL_SKILL, tuple(_LOCAL_SKILL)))
_SHELL_AT: Final = tagged(
    {
        "container_auto": (
            {
                "file_ids": strings(),
                "memory_limit": _MEMORY,
                "network_policy": _NETWORK,
                "skills": each(_SKILL),
            },
            (),
        ),
        "local": ({"skills": LOCAL_SKILLS}, ()),
        "container_reference": ({"container_id": text()}, ("container_id",)),
    }
)


def _shell(tool: Json, param: str) -> None:
    known: dict[str, Check] = {"type": anything, "allowed_callers": _CALLERS, "environment": nullable(_SHELL_AT)}
    fields(tool, param, known)


def _apply_patch(tool: Json, param: str) -> None:
    fields(tool, param, {"type": anything, "allowed_callers": _CALLERS})


def _namespace(tool: Json, param: str) -> None:
    known: dict[str, Check] = {"type": anything, "description": text(), "name": _name, "tools": check_tools}
    fields(tool, param, known, ("description", "name", "tools"))
    for index, each_tool in enumerate(tool["tools"]):
        one_of("function", "custom")(each_tool["type"], f"{param}.tools[{index}].type")


def _tool_search(tool: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "description": nullable(text()),
        "execution": one_of("server", "client"),
        "parameters": anything,
    }
    fields(tool, param, known)


def _plain(tool: Json, param: str) -> None:
    fields(tool, param, {"type": anything})


_CHECKS: Final[dict[str, Callable[[Json, str], None]]] = {
    "function": _function,
    "custom": _custom,
    "web_search": _web_search,
    "web_search_2025_08_26": _web_search,
    "web_search_preview": _web_search_preview,
    "web_search_preview_2025_03_11": _web_search_preview,
    "file_search": _file_search,
    "code_interpreter": _code_interpreter,
    "image_generation": _image_generation,
    "mcp": _mcp,
    "computer": _plain,
    "computer_use_preview": _computer_preview,
    "local_shell": _plain,
    "shell": _shell,
    "apply_patch": _apply_patch,
    "namespace": _namespace,
    "programmatic_tool_calling": _plain,
    "tool_search": _tool_search,
}
"""Every type of tool."""
