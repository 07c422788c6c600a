"""The parameters of a request: which exist, their types, tools, tool choice and output format."""

from __future__ import annotations

from typing import Final

from handfast.testing.record import Json
from handfast.testing.responses.compaction import SHARED_PARAMS, check_context_management
from handfast.testing.responses.content import INPUT_PARTS, check_part
from handfast.testing.responses.refusal import ApiRefusal, unknown, wrong_type
from handfast.testing.responses.schema import check_format
from handfast.testing.responses.tools import HOSTED_CHOICES, check_tools
from handfast.testing.responses.values import (
    Check,
    Shape,
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
    strings,
    tagged,
    text,
    values,
)


def check_params(body: Json) -> None:
    """Check everything in a request but its input.

    Raises:
        ApiRefusal: A parameter is missing, unknown, malformed, or contradicts another.
    """
    for name in body:
        if name not in _PARAMS:
            raise unknown(name)
    fields(body, "", _PARAMS, () if body.get("prompt") else ("model",))  # a template names one
    if body.get("stream_options") is not None and not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise ApiRefusal(message, "stream_options", "invalid_value")
    _check_history(body)
    if body.get("background") and body.get("store") is False:
        raise ApiRefusal("Background mode requires 'store' to be true.", "background", "invalid_value")
    _tool_choice(body.get("tool_choice"), body.get("tools") or [])


def check_count_params(body: Json) -> None:
    """Check everything but the input of a request to count tokens.

    Raises:
        ApiRefusal: A parameter is unknown, malformed, or contradicts another.
    """
    known = {name: _PARAMS[name] for name in _COUNTED}
    loose = {"model": nullable(text()), "text": nullable(_text), "tool_choice": nullable(_choice_shape)}
    fields(body, "", {**known, **loose, "tools": nullable(check_tools), "personality": text(64)})
    _check_history(body)
    _tool_choice(body.get("tool_choice"), body.get("tools") or [])


def _check_history(body: Json) -> None:
    if body.get("conversation") is not None and body.get("previous_response_id") is not None:
        message = "Mutually exclusive parameters: 'previous_response_id' and 'conversation'."
        raise ApiRefusal(message, "conversation", "mutually_exclusive_parameters")


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


def _variable(value: object, param: str) -> None:
    if not isinstance(value, str):
        check_part(value, param, INPUT_PARTS)


def _prompt(value: object, param: str) -> None:
    known: dict[str, Check] = {
        "id": text(),
        "version": nullable(text()),
        "variables": nullable(values(_variable)),
    }
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
        "format": check_format,
        "verbosity": nullable(one_of("low", "medium", "high")),
    }
    fields(mapping(value, param), param, known)


_CHOICES: Final[dict[str, Shape]] = {
    "function": ({"name": text()}, ("name",)),
    "custom": ({"name": text()}, ("name",)),
    "mcp": ({"server_label": text(), "name": nullable(text())}, ("server_label",)),
    "allowed_tools": ({"mode": one_of("auto", "required"), "tools": each(mapping)}, ("mode", "tools")),
    **dict.fromkeys(HOSTED_CHOICES, ({}, ())),
}


def _choice_shape(value: object, param: str) -> None:
    if isinstance(value, str):
        one_of("none", "auto", "required")(value, param)
    elif not isinstance(value, dict):
        raise wrong_type(param, "one of an object or string", value)
    else:
        tagged(_CHOICES)(value, param)


_LABELS: Final = {"function": "name", "custom": "name", "mcp": "server_label"}
"""Tools of which a request may hold several, and the field that tells them apart."""


def _label(tool: Json) -> object:
    return tool.get(_LABELS.get(str(tool.get("type")), ""))


def _tool_choice(choice: object, tools: list[Json]) -> None:
    """Refuse a choice of something that is not offered."""
    if choice == "required" and not tools:
        message = "Tool choice 'required' must be specified with 'tools' parameter."
        raise ApiRefusal(message, "tool_choice", "invalid_value")
    if not isinstance(choice, dict):
        return
    wanted = choice["tools"] if choice["type"] == "allowed_tools" else [choice]
    offered = {(tool["type"], _label(tool)) for tool in tools}
    kinds = {str(kind) for kind, _ in offered}
    for tool in wanted:
        kind, name = str(tool.get("type")), _label(tool)
        known = (kind, name) in offered if kind in _LABELS else any(each.startswith(kind) for each in kinds)
        if not known:
            message = f"Tool choice '{name or kind}' not found in 'tools' parameter."
            raise ApiRefusal(message, "tool_choice", "invalid_value")


_POLICY: Final = nullable(shape({"mode": one_of("score", "block")}, ("mode",)))
_PARAMS: Final[dict[str, Check]] = {
    **SHARED_PARAMS,
    "access_programs": shape({"cyber": one_of("standard", "daybreak_blue", "daybreak_red")}),
    "background": nullable(boolean),
    "context_management": nullable(check_context_management),
    "conversation": nullable(_conversation),
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
    "max_output_tokens": nullable(integer(16)),
    "max_tool_calls": nullable(integer(1)),
    "metadata": nullable(check_metadata),
    "moderation": nullable(
        shape({"model": text(), "policy": nullable(shape({"input": _POLICY, "output": _POLICY}))}, ("model",))
    ),
    "parallel_tool_calls": nullable(boolean),
    "prompt": nullable(_prompt),
    "reasoning": nullable(_reasoning),
    "safety_identifier": nullable(text(64)),
    "service_tier": nullable(one_of("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")),
    "store": nullable(boolean),
    "stream": nullable(boolean),
    "stream_options": nullable(shape({"include_obfuscation": boolean})),
    "temperature": nullable(decimal(0, 2)),
    "text": _text,
    "tool_choice": _choice_shape,
    "tools": check_tools,
    "top_logprobs": nullable(integer(0, 20)),
    "top_p": nullable(decimal(0, 1)),
    "truncation": nullable(one_of("auto", "disabled")),
    "user": text(),
}
_COUNTED: Final = (
    *("conversation", "input", "instructions", "parallel_tool_calls", "previous_response_id", "reasoning", "text"),
    *("tool_choice", "tools", "truncation"),
)
"""Parameters of a request to count tokens that mean what they mean to a response."""
