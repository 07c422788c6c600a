"""The tools that a request offers: functions, custom tools, and what the provider runs itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from handfast.testing.record import Json
from handfast.testing.responses.refusal import ApiRefusal, missing, wrong_type
from handfast.testing.responses.schema import schema_problem
from handfast.testing.responses.values import (
    Check,
    anything,
    array,
    boolean,
    decimal,
    fields,
    integer,
    mapping,
    nullable,
    one_of,
    string,
    strings,
    text,
)

HOSTED_TOOLS: Final = [
    "apply_patch",
    "code_interpreter",
    "computer",
    "computer_use_preview",
    "custom",
    "file_search",
    "image_generation",
    "local_shell",
    "mcp",
    "namespace",
    "programmatic_tool_calling",
    "shell",
    "tool_search",
    "web_search",
    "web_search_2025_08_26",
    "web_search_preview",
    "web_search_preview_2025_03_11",
]
"""Types of tool beside `function`. Those without a check of their own below are accepted without a look inside."""

_MAX_TOOLS: Final = 128
_NAME: Final = "^[a-zA-Z0-9_-]+$"
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
        one_of("function", *HOSTED_TOOLS)(tool["type"], f"{place}.type")
        if tool["type"] in _CHECKS:
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
    string(value, param, minimum=1, maximum=64, pattern=_NAME)


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


def _web_search(tool: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "external_web_access": boolean,
        "filters": nullable(_within({"allowed_domains": nullable(strings())})),
        "search_context_size": one_of("low", "medium", "high"),
        "user_location": nullable(
            _within(
                {
                    "type": one_of("approximate"),
                    **dict.fromkeys(("city", "country", "region", "timezone"), nullable(text())),
                }
            )
        ),
    }
    fields(tool, param, known)


def _file_search(tool: Json, param: str) -> None:
    ranking: dict[str, Check] = {
        "hybrid_search": mapping,
        "ranker": one_of("auto", "default-2024-11-15"),
        "score_threshold": decimal(0, 1),
    }
    known: dict[str, Check] = {
        "type": anything,
        "vector_store_ids": strings(),
        "filters": nullable(mapping),
        "max_num_results": integer(1, 50),
        "ranking_options": _within(ranking),
    }
    fields(tool, param, known, ("vector_store_ids",))


def _code_interpreter(tool: Json, param: str) -> None:
    known: dict[str, Check] = {"type": anything, "container": _container, "allowed_callers": _CALLERS}
    fields(tool, param, known, ("container",))


def _container(value: object, param: str) -> None:
    if isinstance(value, str):
        return
    if not isinstance(value, dict):
        raise wrong_type(param, "one of a string or object", value)
    known: dict[str, Check] = {
        "type": one_of("auto"),
        "file_ids": strings(),
        "memory_limit": nullable(one_of("1g", "4g", "16g", "64g")),
        "network_policy": mapping,
    }
    fields(value, param, known, ("type",))


def _image_generation(tool: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "action": one_of("generate", "edit", "auto"),
        "background": one_of("transparent", "opaque", "auto"),
        "complexity": one_of("low", "medium", "high"),
        "frame_count": integer(1),
        "frame_duration_ms": integer(1),
        "input_fidelity": nullable(one_of("high", "low")),
        "input_image_mask": _within({"file_id": text(), "image_url": text()}),
        "model": text(),
        "moderation": one_of("auto", "low"),
        "output_compression": integer(0, 100),
        "output_format": one_of("png", "webp", "jpeg", "gif", "svg"),
        "partial_images": integer(0, 3),
        "quality": one_of("low", "medium", "high", "xhigh", "max", "auto"),
        "size": text(),
        "svg": mapping,
    }
    fields(tool, param, known)


def _mcp(tool: Json, param: str) -> None:
    known: dict[str, Check] = {
        "type": anything,
        "server_label": lambda value, place: string(value, place, minimum=1),
        "server_url": text(),
        "connector_id": text(),
        "tunnel_id": text(),
        "server_description": text(),
        "authorization": text(),
        "headers": nullable(mapping),
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


def _within(known: dict[str, Check]) -> Check:
    return lambda value, param: fields(mapping(value, param), param, known)


_CHECKS: Final[dict[str, Callable[[Json, str], None]]] = {
    "function": _function,
    "custom": _custom,
    "web_search": _web_search,
    "web_search_2025_08_26": _web_search,
    "file_search": _file_search,
    "code_interpreter": _code_interpreter,
    "image_generation": _image_generation,
    "mcp": _mcp,
}
