"""The parameters of a request: which exist, their types, tools, tool choice and output format."""

from __future__ import annotations

from typing import Final

from handfast.testing.record import Json
from handfast.testing.responses.compaction import check_context_management
from handfast.testing.responses.items import MAX_TEXT
from handfast.testing.responses.refusal import ApiRefusal, missing, unknown, wrong_type, wrong_value
from handfast.testing.responses.schema import schema_problem
from handfast.testing.responses.tools import HOSTED_TOOLS, check_tools
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

_NAME: Final = "^[a-zA-Z0-9_-]+$"
_UNSUPPORTED: Final = ("moderation",)
"""Parameters of the real API that nothing here can play: refused where they ask for something."""


def check_params(body: Json) -> None:
    """Check everything in a request but its input.

    Raises:
        ApiRefusal: A parameter is missing, unknown, malformed, or contradicts another.
    """
    for name in body:
        if name not in _PARAMS:
            raise unknown(name)
    fields(body, "", _PARAMS, () if body.get("prompt") else ("model",))  # a template names one
    for name in _UNSUPPORTED:
        if body.get(name):
            raise ApiRefusal(f"This server plays no '{name}'.", name, "unsupported_parameter")
    if body.get("stream_options") is not None and not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise ApiRefusal(message, "stream_options", "invalid_value")
    if body.get("conversation") is not None and body.get("previous_response_id") is not None:
        message = "Mutually exclusive parameters: 'previous_response_id' and 'conversation'."
        raise ApiRefusal(message, "conversation", "mutually_exclusive_parameters")
    if body.get("background") and body.get("store") is False:
        raise ApiRefusal("Background mode requires 'store' to be true.", "background", "invalid_value")
    _tool_choice(body.get("tool_choice"), body.get("tools") or [])


def conversation_named(value: object) -> str | None:
    """The id in a `conversation` parameter, which is a string or an object."""
    return value["id"] if isinstance(value, dict) else value if isinstance(value, str) else None


def _conversation(value: object, param: str) -> None:
    if isinstance(value, dict):
        fields(value, param, {"id": _conversation_id}, ("id",))
    elif isinstance(value, str):
        _conversation_id(value, param)
    else:
        raise wrong_type(param, "one of an object or string", value)


def _conversation_id(value: object, param: str) -> None:
    if not string(value, param, minimum=1).startswith("conv_"):
        message = f"Invalid '{param}': '{value}'. Expected an ID that begins with 'conv_'."
        raise ApiRefusal(message, param, "invalid_value")


def check_metadata(value: object, param: str) -> None:
    """Accept at most 16 short pairs of strings."""
    pairs = mapping(value, param)
    if len(pairs) > 16:
        message = (
            f"Invalid '{param}': too many properties. Expected an object with at most 16 properties, "
            f"but got an object with {len(pairs)} properties instead."
        )
        raise ApiRefusal(message, param, "object_above_max_properties")
    for key, entry in pairs.items():
        string(key, param, maximum=64)
        string(entry, f"{param}.{key}", maximum=512)


def _prompt(value: object, param: str) -> None:
    known: dict[str, Check] = {"id": text(), "version": nullable(text()), "variables": nullable(mapping)}
    fields(mapping(value, param), param, known, ("id",))


def _reasoning(value: object, param: str) -> None:
    known: dict[str, Check] = {
        "effort": nullable(one_of("none", "minimal", "low", "medium", "high", "xhigh", "max")),
        "summary": nullable(one_of("auto", "concise", "detailed")),
        "generate_summary": nullable(one_of("auto", "concise", "detailed")),
        "context": nullable(one_of("auto", "current_turn", "all_turns")),
        "mode": nullable(text()),
    }
    fields(mapping(value, param), param, known)


def _text(value: object, param: str) -> None:
    known: dict[str, Check] = {
        "format": _format,
        "verbosity": nullable(one_of("low", "medium", "high")),
    }
    fields(mapping(value, param), param, known)


def _format(value: object, param: str) -> None:
    config = mapping(value, param)
    if "type" not in config:
        raise missing(f"{param}.type")
    one_of("json_object", "json_schema", "text")(config["type"], f"{param}.type")
    if config["type"] != "json_schema":
        fields(config, param, {"type": anything})
        return
    known: dict[str, Check] = {
        "type": anything,
        "name": lambda entry, place: string(entry, place, minimum=1, maximum=64, pattern=_NAME),
        "schema": mapping,
        "description": text(),
        "strict": nullable(boolean),
    }
    fields(config, param, known, ("name", "schema"))
    problem = schema_problem(config["schema"], strict=config.get("strict") is True)
    if problem is not None:
        message = f"Invalid schema for response_format '{config['name']}': {problem}"
        raise ApiRefusal(message, f"{param}.schema", "invalid_json_schema")


def _choice_shape(value: object, param: str) -> None:
    if isinstance(value, str):
        one_of("none", "auto", "required")(value, param)
    elif not isinstance(value, dict):
        raise wrong_type(param, "one of an object or string", value)
    elif "type" not in value:
        raise missing(f"{param}.type")
    elif value["type"] == "function":
        fields(value, param, {"type": anything, "name": text()}, ("name",))
    elif value["type"] == "allowed_tools":
        known: dict[str, Check] = {"type": anything, "mode": one_of("auto", "required"), "tools": array}
        fields(value, param, known, ("mode", "tools"))
    elif value["type"] not in HOSTED_TOOLS:
        raise wrong_value(f"{param}.type", value["type"], ("allowed_tools", "function", *HOSTED_TOOLS))


def _tool_choice(choice: object, tools: list[Json]) -> None:
    """Refuse a choice of something that is not offered."""
    if choice == "required" and not tools:
        message = "Tool choice 'required' must be specified with 'tools' parameter."
        raise ApiRefusal(message, "tool_choice", "invalid_value")
    if not isinstance(choice, dict):
        return
    wanted = choice["tools"] if choice["type"] == "allowed_tools" else [choice]
    offered = {(tool["type"], tool.get("name")) for tool in tools}
    kinds = {kind for kind, _ in offered}
    for index, entry in enumerate(wanted):
        tool = mapping(entry, f"tool_choice.tools[{index}]")
        kind, name = tool.get("type"), tool.get("name")
        if (kind, name) not in offered and (kind in {"function", "custom"} or kind not in kinds):
            message = f"Tool choice '{name or kind}' not found in 'tools' parameter."
            raise ApiRefusal(message, "tool_choice", "invalid_value")


_PARAMS: Final[dict[str, Check]] = {
    "access_programs": mapping,
    "background": nullable(boolean),
    "context_management": nullable(check_context_management),
    "conversation": nullable(_conversation),
    "image": mapping,
    "include": nullable(
        strings(
            "code_interpreter_call.outputs",
            "computer_call_output.output.image_url",
            "file_search_call.results",
            "message.input_image.image_url",
            "message.output_text.logprobs",
            "reasoning.encrypted_content",
            "web_search_call.action.sources",
            "web_search_call.results",
        )
    ),
    "input": anything,
    "instructions": nullable(text(MAX_TEXT)),
    "max_output_tokens": nullable(integer(16)),
    "max_tool_calls": nullable(integer(1)),
    "metadata": nullable(check_metadata),
    "model": lambda value, param: string(value, param, minimum=1),
    "moderation": nullable(mapping),
    "parallel_tool_calls": nullable(boolean),
    "previous_response_id": nullable(text()),
    "prompt": nullable(_prompt),
    "prompt_cache_key": nullable(text(64)),
    "prompt_cache_options": mapping,
    "prompt_cache_retention": nullable(one_of("in_memory", "24h")),
    "reasoning": nullable(_reasoning),
    "safety_identifier": nullable(text(64)),
    "service_tier": nullable(one_of("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")),
    "store": nullable(boolean),
    "stream": nullable(boolean),
    "stream_options": nullable(mapping),
    "temperature": nullable(decimal(0, 2)),
    "text": _text,
    "tool_choice": _choice_shape,
    "tools": check_tools,
    "top_logprobs": nullable(integer(0, 20)),
    "top_p": nullable(decimal(0, 1)),
    "truncation": nullable(one_of("auto", "disabled")),
    "user": text(),
}
