"""Custom tools: the model writes free text for them, not JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, overload

from pydantic import BaseModel, ConfigDict

from handfast.definitions.checks import check_mapping
from handfast.definitions.schema.json_schema import arguments_schema
from handfast.definitions.tools.function_tool import Tool, tool
from handfast.definitions.tools.offered import offered_schema
from handfast.errors import DefinitionError, JsonProfileError
from handfast.payloads.call_items import CUSTOM_CALL
from handfast.payloads.json_profile import JsonObject, check_json

__all__ = ["CustomInput", "CustomTool", "custom_tool"]


class CustomInput(BaseModel):
    """Arguments of a call to a custom tool, for rules, approvers and idempotency keys."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    input: str


_SCHEMA: Final = offered_schema(CustomInput, arguments_schema(CustomInput))


@dataclass(frozen=True, kw_only=True)
class CustomTool(Tool[..., Any]):
    """A tool whose input is free text. Made by `custom_tool`.

    Attributes:
        format: Grammar of the text, as the Responses API takes it; None is any text.
        parameter: Name of the function's parameter that takes the text.
    """

    call_type: ClassVar[str] = CUSTOM_CALL

    format: JsonObject | None = field(hash=False)
    parameter: str

    def definition(self) -> JsonObject:
        """See base class."""
        shape = {} if self.format is None else {"format": self.format}
        return {"type": "custom", "name": self.name, "description": self.description, **shape}

    def bind(self, arguments: JsonObject) -> dict[str, Any]:
        """See base class."""
        self.validate(arguments)
        return {self.parameter: arguments["input"]}


@overload
def custom_tool(function: Callable[..., Any], /) -> CustomTool: ...


@overload
def custom_tool(
    *, format: Mapping[str, Any] | None = ..., **options: Any
) -> Callable[[Callable[..., Any]], CustomTool]: ...


def custom_tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    format: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Make a tool for which the model writes free text. Used as ``@custom_tool`` or ``@custom_tool(...)``.

    The function takes one text, after a `ToolContext` if it wants one. For approval rules, requests and idempotency
    keys the arguments are a `CustomInput`: ``{"input": text}``.

    Args:
        format: ``{"type": "grammar", "syntax": "lark" | "regex", "definition": …}``; None is any text.
        options: As `handfast.tool`: ``approval``, ``effect``, ``name``, ``description``, ``timeout``…

    Raises:
        DefinitionError: The function, the format or an option cannot work.
    """

    def define(function: Callable[..., Any]) -> CustomTool:
        made: Tool[..., Any] = tool(**options)(function)
        subject = f"custom tool {made.name!r}"
        parameters = made.arguments_model.model_fields
        if len(parameters) != 1 or next(iter(parameters.values())).annotation is not str:
            raise DefinitionError(subject, "the function must take one text (str), after its ToolContext if it has one")
        values = {each.name: getattr(made, each.name) for each in dataclasses.fields(made) if each.init}
        return CustomTool(
            **{**values, **_SCHEMA, "format": _checked_format(subject, format), "parameter": next(iter(parameters))}
        )

    return define if function is None else define(function)


def _checked_format(subject: str, given: Mapping[str, Any] | None) -> JsonObject | None:
    if given is None:
        return None
    check_mapping(subject, "format", given)
    copied = dict(given)
    try:
        check_json(copied)
    except JsonProfileError as error:
        raise DefinitionError(subject, f"format must be JSON: {error.problem}") from None
    kind = copied.get("type")
    if kind == "text" and copied.keys() == {"type"}:
        return copied
    texts = isinstance(copied.get("definition"), str) and copied.get("syntax") in ("lark", "regex")
    if kind != "grammar" or not texts or copied.keys() != {"type", "syntax", "definition"}:
        raise DefinitionError(
            subject, 'format must be {"type": "grammar", "syntax": "lark" or "regex", "definition": a text} or None'
        )
    return copied
