"""The subset of JSON Schema that strict mode accepts, for tools and for the output format."""

from __future__ import annotations

from typing import Final

from handfast.testing.record import Json
from handfast.testing.responses.refusal import ApiRefusal, missing
from handfast.testing.responses.values import (
    Check,
    anything,
    boolean,
    fields,
    mapping,
    nullable,
    one_of,
    string,
    text,
)

NAME: Final = "^[a-zA-Z0-9_-]+$"
"""Names of tools and of formats, up to 64 characters."""

_FORBIDDEN: Final = [
    "oneOf",
    "allOf",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "patternProperties",
    "propertyNames",
    "unevaluatedProperties",
    "unevaluatedItems",
    "contains",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
    "uniqueItems",
    "prefixItems",
]
_FORMATS: Final = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_AT_ROOT: Final = ("oneOf", "anyOf", "allOf", "enum", "not")
_MAX_DEPTH: Final = 10
_MAX_PROPERTIES: Final = 5_000


def schema_problem(schema: object, *, strict: bool) -> str | None:
    """Say what is wrong with the schema of a function's arguments or of an output, or None.

    Args:
        schema: The JSON schema.
        strict: Apply the rules of strict mode: closed objects, every property required, few keywords.
    """
    if not isinstance(schema, dict) or schema.get("type") != "object":
        got = schema.get("type") if isinstance(schema, dict) else None
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{got}\"'."
    if any(key in schema for key in _AT_ROOT):
        listed = "/".join(f"'{key}'" for key in _AT_ROOT)
        return f"schema must have type 'object' and not have {listed} at the top level."
    return _Walk(schema, strict).problem(schema, (), 1)


def check_format(value: object, param: str) -> None:
    """Check the format of an answer.

    Raises:
        ApiRefusal: It is none, or its schema is not one that the API takes.
    """
    config = mapping(value, param)
    if "type" not in config:
        raise missing(f"{param}.type")
    one_of("json_object", "json_schema", "text")(config["type"], f"{param}.type")
    if config["type"] != "json_schema":
        fields(config, param, {"type": anything})
        return
    known: dict[str, Check] = {
        "type": anything,
        "name": lambda entry, place: string(entry, place, minimum=1, maximum=64, pattern=NAME),
        "schema": mapping,
        "description": text(),
        "strict": nullable(boolean),
    }
    fields(config, param, known, ("name", "schema"))
    problem = schema_problem(config["schema"], strict=config.get("strict") is True)
    if problem is not None:
        message = f"Invalid schema for response_format '{config['name']}': {problem}"
        raise ApiRefusal(message, f"{param}.schema", "invalid_json_schema")


class _Walk:
    def __init__(self, root: Json, strict: bool) -> None:
        self._root = root
        self._strict = strict
        self._properties = 0

    def problem(self, node: object, context: tuple[str, ...], depth: int) -> str | None:
        """Return what is wrong at *node* or below it."""
        if not isinstance(node, dict):
            return f"In context={context}, {node!r} is not of type 'object', 'boolean'."
        found = self._array(node) or (self._keywords(node, depth) if self._strict else None)
        if found is not None:
            return f"In context={context}, {found}"
        return self._below(node, context, depth)

    def _array(self, node: Json) -> str | None:
        if node.get("type") == "array" and "items" not in node:
            return "array schema missing items."
        return None

    def _keywords(self, node: Json, depth: int) -> str | None:
        if "$ref" in node:
            return self._reference(node)
        for key in _FORBIDDEN:
            if key in node:
                return f"'{key}' is not permitted."
        if node.get("format", "date") not in _FORMATS:
            return f"'{node['format']}' is not a valid format."
        if not {"type", "anyOf", "enum", "const"} & node.keys():
            return "schema must have a 'type' key."
        if depth > _MAX_DEPTH:
            return f"schema exceeds the maximum of {_MAX_DEPTH} levels of nesting."
        kinds = node.get("type")
        return self._object(node) if kinds == "object" or (isinstance(kinds, list) and "object" in kinds) else None

    def _reference(self, node: Json) -> str | None:
        others = sorted(set(node) - {"$ref", "$defs", "definitions"})
        if others:
            return f"$ref cannot have keywords {set(others)!r}."
        target: object = self._root
        path = str(node["$ref"])
        for key in path.removeprefix("#").split("/")[1:]:
            target = target.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
        if target is None or not path.startswith("#"):
            return f"reference to component '{path}' which was not found in the schema."
        return None

    def _object(self, node: Json) -> str | None:
        if node.get("additionalProperties", True) is not False:
            return "'additionalProperties' is required to be supplied and to be false."
        properties = node.get("properties", {})
        if not isinstance(properties, dict):
            return f"{properties!r} is not of type 'object'."
        self._properties += len(properties)
        if self._properties > _MAX_PROPERTIES:
            return f"schema exceeds the maximum of {_MAX_PROPERTIES} properties."
        required = node.get("required", [])
        every = "'required' is required to be supplied and to be an array including every key in properties."
        if not isinstance(required, list):
            return every
        for key in properties:
            if key not in required:
                return f"{every} Missing '{key}'."
        for key in required:
            if key not in properties:
                return f"{every} Extra required key '{key}' supplied."
        return None

    def _below(self, node: Json, context: tuple[str, ...], depth: int) -> str | None:
        children: list[tuple[tuple[str, ...], object, int]] = []
        for key in ("properties", "$defs", "definitions"):
            named = node.get(key)
            if isinstance(named, dict):
                level = depth + 1 if key == "properties" else 1
                children += [((*context, key, name), child, level) for name, child in named.items()]
        if "items" in node:
            children.append(((*context, "items"), node["items"], depth + 1))
        branches = node.get("anyOf")
        if isinstance(branches, list):
            children += [((*context, "anyOf", str(i)), child, depth) for i, child in enumerate(branches)]
        for where, child, level in children:
            if isinstance(child, bool) and not self._strict:
                continue
            found = self.problem(child, where, level)
            if found is not None:
                return found
        return None
