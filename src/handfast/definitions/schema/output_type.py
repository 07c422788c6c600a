"""The type of a run's final answer: its schema for the model, and the reader of the answer's text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from handfast.definitions.schema.json_schema import drop_titles, strict_schema, takes_digits, type_schema
from handfast.definitions.schema.refusal import problems_of_values
from handfast.definitions.schema.strict_values import from_strict
from handfast.errors import DefinitionError, JsonProfileError, OutputInvalidError
from handfast.payloads.json_profile import JsonObject, JsonValue, parse_json
from handfast.payloads.runs import RunResult

__all__ = ["OutputType", "built", "output_type_of", "typed_result", "unwrapped"]

WRAPPER: Final = "response"
"""The one property of the object around an answer that is no object: the API takes objects only."""
_UNBUILDABLE: Final = (
    PydanticUserError,
    PydanticUndefinedAnnotation,
    NameError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
    LookupError,
    SyntaxError,
)


@dataclass(frozen=True, slots=True)
class OutputType:
    """A type that pydantic can build, as the format of an answer.

    Attributes:
        name: Name for the API: letters, digits, ``_`` and ``-``.
        schema: pydantic's own JSON schema of the type.
        wrapped: The model answers with an object around the value, as the type itself is no object.
    """

    name: str
    schema: JsonObject
    wrapped: bool
    adapter: TypeAdapter[Any]

    def text_format(self) -> JsonObject:
        """Return the ``text.format`` of a Responses request, in strict form where the type allows it."""
        schema = _wrap(self.schema) if self.wrapped else self.schema
        strict = strict_schema(schema)
        return {
            "type": "json_schema",
            "name": self.name,
            "schema": drop_titles(schema) if strict is None else strict,
            "strict": strict is not None,
        }

    def settings(self, given: Mapping[str, Any], subject: str) -> JsonObject:
        """Return the settings of a request that asks for this type.

        Raises:
            DefinitionError: For *subject*: *given* names another format.
        """
        text = given.get("text", {})
        if not isinstance(text, dict) or "format" in text:
            raise DefinitionError(subject, "model_settings must not hold text.format beside output_type")
        return {**given, "text": {**text, "format": self.text_format()}}

    def check_text(self, text: str) -> None:
        """Check the text of an answer.

        Raises:
            OutputInvalidError: It is no JSON, or does not fit the type; the problems never repeat a value.
        """
        try:
            value = parse_json(text, every_digit=takes_digits(self.schema))
            self.read(unwrapped(value) if self.wrapped else value)
        except JsonProfileError as error:
            raise OutputInvalidError(self.name, [error.problem]) from None

    def read(self, value: JsonValue) -> Any:
        """Return *value*, an answer as decoded JSON, as the type.

        Scalars are never coerced; texts become dates, UUIDs and the like where declared. A null for a field that has
        a default and takes no null means the default.

        Raises:
            OutputInvalidError: It does not fit; the problems never repeat a value.
        """
        try:
            meant = from_strict(value, self.schema)
            return self.adapter.validate_json(json.dumps(meant), strict=True)
        except ValidationError as error:
            raise OutputInvalidError(self.name, problems_of_values(error, "output")) from None
        except (Exception, SystemExit) as error:
            raise OutputInvalidError(self.name, [f"output: its validator raised {type(error).__name__}"]) from error


def unwrapped(value: JsonValue) -> JsonValue:
    """Take an answer out of the object around it.

    Raises:
        JsonProfileError: There is no such object.
    """
    if not isinstance(value, dict) or value.keys() != {WRAPPER}:
        raise JsonProfileError(f"output: Input should be an object with {WRAPPER!r} and nothing else")
    return value[WRAPPER]


def output_type_of(kind: Any, subject: str) -> OutputType | None:
    """Read a type; None and ``str`` are plain text.

    Raises:
        DefinitionError: For *subject*: pydantic cannot build it, or has no JSON schema for it.
    """
    if kind is None or kind is str:
        return None
    return built(kind, subject)


def built(kind: Any, subject: str) -> OutputType:
    """Read any type, a plain text too.

    Raises:
        DefinitionError: For *subject*: pydantic cannot build it, or has no JSON schema for it.
    """
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        schema = type_schema(adapter)
    except _UNBUILDABLE as error:
        why = next(iter(str(error).splitlines()), type(error).__name__).partition(". Set `arbitrary_types_allowed")[0]
        raise DefinitionError(subject, f"output_type has no schema: {why}") from error
    return OutputType(name=_name(kind), schema=schema, wrapped=schema.get("type") != "object", adapter=adapter)


def typed_result(result: RunResult, kind: OutputType) -> RunResult[Any]:
    """Return *result* with its output as the type.

    Raises:
        OutputInvalidError: It does not fit.
    """
    return RunResult[Any].model_construct(**{**dict(result), "output": kind.read(result.output)})


def _wrap(schema: JsonObject) -> JsonObject:
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    return {
        "type": "object",
        "properties": {WRAPPER: inner},
        "required": [WRAPPER],
        "additionalProperties": False,
        **definitions,
    }


def _name(kind: Any) -> str:
    name = kind.__name__ if isinstance(kind, type) else "output"
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", name)[:64].strip("_") or "output"
