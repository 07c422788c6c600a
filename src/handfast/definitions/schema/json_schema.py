"""Converts pydantic's JSON schema to the subset that strict function calling takes.

The subset is OpenAI's ("Structured outputs", supported schemas): every object closed, every property
required, unions as ``anyOf``, and few other keywords. An optional property becomes a required one that may
be null; `handfast.definitions.schema.strict_values` reads such a null as the default again.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, JsonSchemaWarningKind
from pydantic_core import core_schema

from handfast.payloads.json_profile import JsonObject

__all__ = [
    "arguments_schema",
    "drop_titles",
    "has_defaults_without_null",
    "nullable",
    "options_of",
    "resolved",
    "strict_schema",
    "takes_digits",
    "type_schema",
]

_NULL: Final[JsonObject] = {"type": "null"}

_KEPT: Final = frozenset(
    {
        *("type", "description", "enum", "const", "minItems", "maxItems", "multipleOf"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    }
)
_KEPT_FORMATS: Final = frozenset(
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"],
)
_INEXPRESSIBLE: Final = frozenset(
    [
        "patternProperties",
        "propertyNames",
        "prefixItems",
        "not",
        "if",
        "dependentRequired",
        "dependentSchemas",
    ]
)
_DEFINITIONS: Final = "#/$defs/"


class _NotStrictError(Exception):
    """The schema has a keyword or a type that strict mode lacks."""


class _QuietJsonSchema(GenerateJsonSchema):
    # A default that is no JSON (a sentinel) is fine: the model sends null and never sees it.
    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}

    # Pydantic has a schema for these two, and then takes no JSON at all for them.

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        for each in schema["expected"]:
            if isinstance(each, Enum) and not isinstance(each, str | int):
                raise PydanticInvalidForJsonSchema(
                    f"no JSON value is {each}; take Literal[{each.value!r}], the enum, or a StrEnum"
                )
        return super().literal_schema(schema)

    def is_subclass_schema(self, schema: core_schema.IsSubclassSchema) -> JsonSchemaValue:
        raise PydanticInvalidForJsonSchema(f"no JSON value is a class, as type[{schema['cls'].__name__}] wants it")


def arguments_schema(model: type[BaseModel]) -> JsonObject:
    """Return pydantic's own schema of *model*, for validation; of a recursive model too it is an object."""
    return _unreferenced(model.model_json_schema(schema_generator=_QuietJsonSchema))


def type_schema(adapter: TypeAdapter[Any]) -> JsonObject:
    """Return pydantic's own schema of any type, for validation; of a recursive type too it is no reference."""
    return _unreferenced(adapter.json_schema(schema_generator=_QuietJsonSchema))


def _unreferenced(schema: JsonObject) -> JsonObject:
    if "$ref" not in schema:
        return schema
    definitions = {"$defs": schema["$defs"]}
    return {**resolved(schema, schema), **definitions}


def strict_schema(schema: JsonObject) -> JsonObject | None:
    """Return the strict form of *schema*, or None where there is none: free-form dicts, `Any`, tuples."""
    try:
        return _StrictConversion(schema).result()
    except _NotStrictError:
        return None


def drop_titles(schema: JsonObject) -> JsonObject:
    """Return *schema* without the titles that pydantic derives from names."""
    return {key: _without_titles(key, value) for key, value in schema.items() if key != "title"}


def has_defaults_without_null(schema: JsonObject) -> bool:
    """Look for a property, at any depth, that may be left out and takes no null: strict form would ask for a null."""
    parts: list[Any] = [schema]
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts.extend(part)
        if not isinstance(part, dict):
            continue
        parts.extend(part.values())
        properties = part.get("properties")
        if isinstance(properties, dict) and part.get("type") == "object":
            optional = properties.keys() - set(part.get("required", ()))
            if any(not (nullable(properties[name], schema) or _is_tag(properties[name], schema)) for name in optional):
                return True
    return False


def takes_digits(schema: JsonObject) -> bool:
    """Look for a part of *schema* that takes numbers and texts alike, as ``Decimal`` does: there every digit counts."""
    parts: list[Any] = [schema]
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts.extend(part)
        elif isinstance(part, dict):
            parts.extend(part.values())
            options = part.get("anyOf")
            members = [each for each in options if isinstance(each, dict)] if isinstance(options, list) else []
            if {"number", "string"} <= {member.get("type") for member in members}:
                return True
    return False


class _StrictConversion:
    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._definitions: dict[str, JsonObject] = {}

    def result(self) -> JsonObject:
        converted = self._convert(self._root, ())
        return {**converted, "$defs": self._definitions} if self._definitions else converted

    def _convert(self, schema: Any, inlining: tuple[str, ...]) -> JsonObject:
        if not isinstance(schema, dict) or _INEXPRESSIBLE & schema.keys():
            raise _NotStrictError
        if "$ref" in schema:
            return self._reference(schema, inlining)
        if "allOf" in schema:
            return self._single(schema, inlining)
        kept = {key: value for key, value in schema.items() if key in _KEPT or _keeps(key, value)}
        options = schema.get("anyOf", schema.get("oneOf"))
        if options is not None:
            kept["anyOf"] = [self._convert(option, inlining) for option in options]
        elif schema.get("type") == "object":
            kept |= self._object(schema, inlining)
        elif schema.get("type") == "array":
            kept["items"] = self._convert(schema.get("items"), inlining)
        elif not kept.keys() & {"type", "enum", "const"}:
            raise _NotStrictError
        return kept

    def _object(self, schema: JsonObject, inlining: tuple[str, ...]) -> JsonObject:
        if "properties" not in schema or schema.get("additionalProperties", False) is not False:
            raise _NotStrictError
        required = schema.get("required", ())
        properties = {
            name: self._convert(inner, inlining)
            if name in required or _is_tag(inner, self._root)
            else self._optional(inner, inlining)
            for name, inner in schema["properties"].items()
        }
        return {"properties": properties, "required": list(properties), "additionalProperties": False}

    def _optional(self, schema: JsonObject, inlining: tuple[str, ...]) -> JsonObject:
        description = {"description": schema["description"]} if "description" in schema else {}
        bare = {key: value for key, value in schema.items() if key not in ("description", "default", "title")}
        converted = self._convert(bare, inlining)
        if nullable(schema, self._root):
            return {**converted, **description}
        if converted.keys() == {"anyOf"}:
            return {"anyOf": [*converted["anyOf"], _NULL], **description}
        return {"anyOf": [converted, _NULL], **description}

    def _reference(self, schema: JsonObject, inlining: tuple[str, ...]) -> JsonObject:
        name = str(schema["$ref"]).removeprefix(_DEFINITIONS)
        definition = self._root["$defs"][name]
        siblings = {key: value for key, value in schema.items() if key in _KEPT}
        if siblings and name not in inlining:
            inlined = self._convert(definition, (*inlining, name))
            return inlined if "$ref" in inlined else {**inlined, **siblings}
        if name not in self._definitions:
            self._definitions[name] = {}  # known before it is converted: it may refer to itself
            self._definitions[name] = self._convert(definition, ())
        return {"$ref": _DEFINITIONS + name}

    def _single(self, schema: JsonObject, inlining: tuple[str, ...]) -> JsonObject:
        if len(schema["allOf"]) != 1:
            raise _NotStrictError
        siblings = {key: value for key, value in schema.items() if key in _KEPT}
        return self._convert({**schema["allOf"][0], **siblings}, inlining)


def _keeps(key: str, value: Any) -> bool:
    # Look-around is more than can constrain a model; pydantic still checks it afterwards.
    return (key == "format" and value in _KEPT_FORMATS) or (key == "pattern" and "(?" not in value)


def _without_titles(key: str, value: Any) -> Any:
    if isinstance(value, list) and key not in ("enum", "examples", "required"):
        return [drop_titles(item) if isinstance(item, dict) else item for item in value]
    if not isinstance(value, dict) or key in ("default", "const"):
        return value
    if key in ("properties", "$defs", "patternProperties"):  # here the keys are names, and "title" may be one
        return {name: drop_titles(inner) for name, inner in value.items()}
    return drop_titles(value)


def resolved(schema: JsonObject, root: JsonObject) -> JsonObject:
    """Follow the references of *schema* into the definitions of *root*."""
    while "$ref" in schema:
        schema = root["$defs"][str(schema["$ref"]).removeprefix(_DEFINITIONS)]
    return schema


def options_of(schema: JsonObject, root: JsonObject) -> list[JsonObject]:
    """Return the members of a union, of unions in it too; of any other schema itself."""
    schema = resolved(schema, root)
    options = schema.get("anyOf", schema.get("oneOf", schema.get("allOf")))
    if options is None:
        return [schema]
    return [inner for option in options for inner in options_of(option, root)]


def nullable(schema: JsonObject, root: JsonObject) -> bool:
    """Tell whether *schema* itself takes null."""
    return any(_takes_null(option) for option in options_of(schema, root))


def _takes_null(schema: JsonObject) -> bool:
    if "enum" in schema or "const" in schema:
        return None in schema.get("enum", [schema.get("const", ...)])
    kinds = schema.get("type", "null")
    return "null" in kinds if isinstance(kinds, list) else bool(kinds == "null")


def _is_tag(schema: JsonObject, root: JsonObject) -> bool:
    """Tell whether the default is the only value: strict form can just ask for it."""
    only = resolved(schema, root).get("const", ...)
    return only is not ... and schema.get("default") == only
