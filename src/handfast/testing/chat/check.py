"""The strict reading of a request to ``/chat/completions``: parameters, messages, and what holds between them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from handfast.testing.chat.dialect import ChatDialect
from handfast.testing.chat.items import items_of
from handfast.testing.chat.thoughts import Thoughts
from handfast.testing.chat.types import check_body, check_message, check_tool
from handfast.testing.record import Json, text_of
from handfast.testing.responses.refusal import ApiRefusal, no_match, wrong_type, wrong_value
from handfast.testing.responses.schema import schema_problem

_NAME: Final = "^[a-zA-Z0-9_-]+$"
_MAX_TOOLS: Final = 128
_LONGEST_ID: Final = 40
_UNPLAYED: Final = ("audio", "function_call", "functions", "prediction", "web_search_options")
"""Parameters of the real API that nothing here can play."""


def check_completion(body: Json, thoughts: Thoughts, dialect: ChatDialect) -> list[Json]:
    """Check a request, and return its messages as items of the Responses API: scripts and records read those.

    Args:
        body: The request.
        thoughts: The reasoning that the server has sent.
        dialect: How the server reads.

    Raises:
        ApiRefusal: The real API would refuse it.
    """
    strict = dialect.strict
    check_body(body, strict=strict)
    for name in _UNPLAYED:
        if body.get(name):
            raise ApiRefusal(f"This server plays no '{name}'.", name, "unsupported_parameter")
    if body.get("n") not in (None, 1):
        raise ApiRefusal("This server plays one choice.", "n", "unsupported_value")
    if body.get("stream_options") is not None and not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise ApiRefusal(message, "stream_options", "invalid_value")
    _tools(body, dialect)
    messages = _messages(body, thoughts, strict)
    _check_format(body, messages, strict)
    dialect.check(body)
    return items_of(messages)


def _array(body: Json, name: str) -> list[Json]:
    value = body[name]
    if not isinstance(value, list):
        raise wrong_type(name, "an array of objects", value)
    if not value:
        expected = "Expected an array with minimum length 1, but got an empty array instead."
        raise ApiRefusal(f"Invalid '{name}': empty array. {expected}", name, "empty_array")
    for number, each in enumerate(value):
        if not isinstance(each, dict):
            raise wrong_type(f"{name}[{number}]", "an object", each)
    return value


# --- tools ---


def _tools(body: Json, dialect: ChatDialect) -> None:
    strict = dialect.strict
    if body.get("tools") is None:
        for name in ("tool_choice", "parallel_tool_calls") if strict else ():
            if body.get(name) is not None and body[name] != "none":
                raise ApiRefusal(f"'{name}' is only allowed when 'tools' are specified.", name, "invalid_value")
        return
    tools = _array(body, "tools")
    if len(tools) > _MAX_TOOLS:
        message = (
            f"Invalid 'tools': array too long. Expected an array with maximum length {_MAX_TOOLS}, "
            f"but got an array with length {len(tools)} instead."
        )
        raise ApiRefusal(message, "tools", "array_above_max_length")
    names: set[tuple[str, str]] = set()
    for number, tool in enumerate(tools):
        place = f"tools[{number}]"
        check_tool(tool, place, strict=strict)
        kind = tool["type"]
        if kind == "custom" and not dialect.custom:
            raise wrong_value(f"{place}.type", kind, ["function"])
        shape = tool[kind]
        if not re.fullmatch(_NAME.strip("^$"), shape["name"]) or len(shape["name"]) > 64:
            raise no_match(f"{place}.{kind}.name", _NAME)
        if kind == "function":
            _function(shape, place, strict)
        names.add((kind, shape["name"]))
    _chosen(body.get("tool_choice"), names)


def _function(function: Json, place: str, knows_strict: bool) -> None:
    strict = knows_strict and function.get("strict") is True
    if function.get("parameters") is None and not strict:
        return
    problem = schema_problem(function.get("parameters"), strict=strict)
    if problem is not None:
        message = f"Invalid schema for function '{function['name']}': {problem}"
        raise ApiRefusal(message, f"{place}.function.parameters", "invalid_function_parameters")


def _chosen(choice: object, offered: set[tuple[str, str]]) -> None:
    if not isinstance(choice, dict):
        return
    wanted = choice["allowed_tools"]["tools"] if choice["type"] == "allowed_tools" else [choice]
    for each in wanted:
        kind = str(each.get("type"))
        name = (each.get(kind) or {}).get("name")
        if (kind, name) not in offered:
            message = f"Invalid value: 'tool_choice': the tool '{name}' is not among 'tools'."
            raise ApiRefusal(message, "tool_choice", "invalid_value")


# --- messages ---


def _messages(body: Json, thoughts: Thoughts, strict: bool) -> list[Json]:
    messages = _array(body, "messages")
    waiting: list[str] = []
    before = "user"
    for number, message in enumerate(messages):
        place = f"messages[{number}]"
        check_message(thoughts.without(message), place, strict=strict)
        role = message["role"]
        if role == "tool":
            if before not in ("assistant", "tool") or message["tool_call_id"] not in waiting:
                told = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
                raise ApiRefusal(f"Invalid parameter: {told}", f"{place}.role")
            waiting.remove(message["tool_call_id"])
        else:
            _refuse_unanswered(waiting, place)
            if role == "assistant":
                waiting = _calls(message, place, strict)
        before = role
    _refuse_unanswered(waiting, "messages")
    thoughts.check(messages)
    return messages


def _refuse_unanswered(waiting: Sequence[str], place: str) -> None:
    if waiting:
        message = (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(waiting)}"
        )
        raise ApiRefusal(message, f"{place}.role" if place != "messages" else place)


def _calls(message: Json, place: str, strict: bool) -> list[str]:
    calls = message.get("tool_calls")
    if calls is not None and not calls:
        expected = "Expected an array with minimum length 1, but got an empty array instead."
        raise ApiRefusal(f"Invalid '{place}.tool_calls': empty array. {expected}", f"{place}.tool_calls", "empty_array")
    if message.get("content") is None and not calls and not message.get("refusal"):
        told = "expected a string, got null."
        raise ApiRefusal(f"Invalid value for 'content': {told}", f"{place}.content", "invalid_type")
    ids = [call["id"] for call in calls or ()]
    for number, id in enumerate(ids if strict else ()):
        _check_id(id, f"{place}.tool_calls[{number}].id")
    if len(set(ids)) < len(ids):
        raise ApiRefusal(f"Duplicate id in '{place}.tool_calls'.", f"{place}.tool_calls", "invalid_value")
    for number, call in enumerate(calls or ()):
        name = call[call["type"]]["name"]
        if not re.fullmatch(_NAME.strip("^$"), name):
            raise no_match(f"{place}.tool_calls[{number}].{call['type']}.name", _NAME)
    return ids


def _check_id(id: str, place: str) -> None:
    if not id:
        told = "Expected a string with minimum length 1, but got an empty string instead."
        raise ApiRefusal(f"Invalid '{place}': empty string. {told}", place, "empty_string")
    if len(id) > _LONGEST_ID:
        told = f"Expected a string with maximum length {_LONGEST_ID}, but got a string with length {len(id)} instead."
        raise ApiRefusal(f"Invalid '{place}': string too long. {told}", place, "string_above_max_length")


# --- the format of the answer ---


def _check_format(body: Json, messages: Sequence[Json], strict: bool) -> None:
    wanted = body.get("response_format") or {}
    if strict and wanted.get("type") == "json_object" and not any("json" in text_of(each).lower() for each in messages):
        message = (
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
        )
        raise ApiRefusal(message, "messages")
    if wanted.get("type") != "json_schema":
        return
    shape = wanted["json_schema"]
    problem = schema_problem(shape.get("schema"), strict=strict and shape.get("strict") is True)
    if problem is not None:
        message = f"Invalid schema for response_format '{shape['name']}': {problem}"
        raise ApiRefusal(message, "response_format", "invalid_json_schema")
