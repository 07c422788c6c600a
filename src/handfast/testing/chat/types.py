"""The typed parameters of the `openai` package, as checks of a request: nothing unknown, nothing of another type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, Literal, NoReturn

from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionDeveloperMessageParam,
    ChatCompletionSystemMessageParam,
    ChatCompletionToolMessageParam,
    ChatCompletionToolUnionParam,
    ChatCompletionUserMessageParam,
)
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from handfast.testing.record import Json
from handfast.testing.responses.refusal import ApiRefusal, missing, unknown, wrong_value

ROLES: Final[Mapping[str, type]] = {
    "system": ChatCompletionSystemMessageParam,
    "developer": ChatCompletionDeveloperMessageParam,
    "user": ChatCompletionUserMessageParam,
    "assistant": ChatCompletionAssistantMessageParam,
    "tool": ChatCompletionToolMessageParam,
}
"""Messages by role; ``function`` is one of an API before this one."""
_NAMED: Final = frozenset({"messages", "tools"})
_ALTERNATIVES: Final = frozenset({"str", "generator", "bool", "int", "float", "none"})
"""Names that pydantic gives to alternatives that are no classes, in the place of a problem."""


def check_body(body: Json, *, strict: bool = True) -> None:
    """Check everything but the messages and the tools.

    Args:
        body: The request.
        strict: Whether a parameter that the API does not know is refused.

    Raises:
        ApiRefusal: A parameter is missing, unknown, or of another type.
    """
    streamed = CompletionCreateParamsStreaming if body.get("stream") else CompletionCreateParamsNonStreaming
    rest: Json = {**body, **{name: [] for name in _NAMED if name in body}}
    check_shape(streamed, rest, "", strict=strict)


def check_message(message: Json, param: str, *, strict: bool = True) -> None:
    """Check one message.

    Raises:
        ApiRefusal: It has no role that exists, or is no message of that role.
    """
    role = message.get("role")
    if role is None:
        raise missing(f"{param}.role")
    if role not in ROLES:
        raise wrong_value(f"{param}.role", role, ROLES)
    check_shape(ROLES[role], message, param, strict=strict)


def check_tool(tool: Json, param: str, *, strict: bool = True) -> None:
    """Check one tool.

    Raises:
        ApiRefusal: It is no function and no custom tool.
    """
    check_shape(ChatCompletionToolUnionParam, tool, param, strict=strict)


def check_shape(shape: Any, value: Json, param: str = "", *, strict: bool = True) -> None:
    """Check a value by a typed dictionary, or a union of some, of a client's package.

    Args:
        shape: The type.
        value: The value.
        param: Where it stands in the request.
        strict: Whether fields that the type does not have are refused.

    Raises:
        ApiRefusal: It lacks something, has too much, or something of another type.
    """
    path: list[str | int] = [param] if param else []
    try:
        _whole(_adapter(shape, "forbid" if strict else "ignore").validate_python(value, strict=True), path)
    except ValidationError as error:
        _refuse(error, path)


@cache
def _adapter(shape: Any, extra: Literal["forbid", "ignore"]) -> TypeAdapter[Any]:
    # A union, as only that lets the config reach the typed dictionaries inside.
    return TypeAdapter(shape | None if isinstance(shape, type) else shape, config=ConfigDict(extra=extra))


def _whole(value: object, path: list[str | int]) -> None:
    """Go through every array: the types call them iterables, and pydantic checks elements of those only on the way.

    Args:
        value: What has been checked so far.
        path: Where it stands; left at the element that fails.
    """
    if isinstance(value, Mapping):
        for name, each in value.items():
            path.append(name)
            _whole(each, path)
            path.pop()
    elif isinstance(value, list | Iterator):
        for number, each in enumerate(value):
            path.append(number)
            _whole(each, path)
            path.pop()


def _refuse(error: ValidationError, before: Sequence[str | int]) -> NoReturn:
    """Refuse with the first problem of the alternative that was meant: the one whose ``type`` is not at fault."""
    problems = error.errors()
    wrong = [each for each in problems if each["type"] == "literal_error" and each["loc"][-1] == "type"]
    others = {_alternative(each) for each in wrong}
    meant = [each for each in problems if _alternative(each) not in others]
    found = max(meant, key=lambda each: bool(_alternative(each)), default=None) or wrong[0]
    path = ""
    for part in (*before, *found["loc"]):
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in _ALTERNATIVES and not part[:1].isupper() and "['" not in part:
            path += f".{part}" if path else str(part)
    if found["type"] == "extra_forbidden":
        raise unknown(path) from error
    if found["type"] == "missing":
        raise missing(path) from error
    message = f"Invalid value for '{path}': {found['msg'][:1].lower()}{found['msg'][1:]}."
    raise ApiRefusal(message, path, "invalid_value") from error


def _alternative(problem: ErrorDetails) -> tuple[str, ...]:
    return tuple(part for part in problem["loc"] if isinstance(part, str) and part[:1].isupper())
