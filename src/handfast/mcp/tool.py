"""A tool of an MCP server, as its server lists it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from pydantic import BaseModel

from handfast.definitions.context import ToolContext
from handfast.definitions.schema.call_form import CallForm
from handfast.definitions.tools.function_tool import Tool
from handfast.definitions.tools.hosted import McpCall
from handfast.definitions.tools.mcp import McpServer
from handfast.definitions.tools.offered import NAME_PATTERN
from handfast.definitions.tools.options import Retry
from handfast.errors import ArgumentsInvalidError, JsonProfileError, McpUnavailableError, OutcomeUnknownError
from handfast.payloads.base import json_size
from handfast.payloads.binding import text_digest
from handfast.payloads.cutting import cut
from handfast.payloads.json_profile import JsonObject, JsonValue, check_json, scrub
from handfast.payloads.mcp import McpAsked, McpChange, McpShown
from handfast.payloads.requests import SHOWN_BYTES, Difference

__all__ = [
    "CallFunction",
    "McpTool",
    "McpToolError",
    "StillWaits",
    "ToolRefusedError",
    "made_tool",
    "object_schema",
    "offered_name",
    "problems_of",
]

StillWaits = Callable[[], Awaitable[bool]]
CallFunction = Callable[..., Awaitable[object]]
"""Makes the call: given tool context and arguments, and ``asked`` and ``waits`` as `McpTool.going_on`. It returns what
the call does, or an `McpAsked`."""

DEFINITION_BYTES: Final = 64 * 1024
"""Largest definition that is offered to a model."""
KEPT_BYTES: Final = 2048
"""Largest part of a definition that is kept beside the calls; of a larger one its digest."""
SHOWN_PROBLEMS: Final = 10
LONGEST_NAME: Final = 64
AGAIN: Final = Retry(on=(McpUnavailableError, OutcomeUnknownError))
"""For calls that may be repeated: where the server went away, before or in the middle."""
_FORM: Final = CallForm(positional=("context", "arguments"), context="context")
_PATTERNS: Final = ("pattern", "patternProperties", "propertyNames")
"""Keywords that are left to the server: with a stranger's expression, Python's matcher may stop a whole worker."""
_REST: Final = ("additionalProperties", "unevaluatedProperties")


class ToolRefusedError(Exception):
    """A tool that a server lists cannot be offered; the text says why."""


class McpToolError(Exception):
    """The server says that the call failed; the text is the server's, for the model."""


class _NoModel(BaseModel):
    """Stands where other tools have a model of their arguments: these have a JSON schema alone."""


@dataclass(frozen=True, kw_only=True)
class McpTool(Tool[..., Any]):
    """A tool that a server lists. Called as a function of tool context and arguments.

    Attributes:
        server: Whose it is.
        listed: Its name at the server.
        shown: Its whole definition: what approvals bind.
        digest: Of that.
    """

    server: McpServer
    listed: str
    shown: JsonObject = field(hash=False, repr=False)
    digest: str

    def validate(self, arguments: JsonObject) -> Any:
        """Check *arguments* against the server's JSON schema; return them as rules get them, a `McpCall`.

        Raises:
            ArgumentsInvalidError: They do not satisfy it.
        """
        try:
            check_json(arguments)
        except JsonProfileError as error:
            raise ArgumentsInvalidError(self.name, [error.problem]) from None
        if problems := problems_of(self.parameters, arguments, "arguments"):
            raise ArgumentsInvalidError(self.name, problems)
        return McpCall(self.server.name, self.listed, arguments)

    def bind(self, arguments: JsonObject) -> dict[str, Any]:
        """See base class."""
        self.validate(arguments)
        return {"arguments": arguments}

    def going_on(self, asked: McpAsked | None, waits: StillWaits) -> McpTool:
        """Return it for one call.

        Args:
            asked: What its server asked for, with the answers, where the call goes on.
            waits: Says whether the call still waits for an answer.
        """
        return replace(self, function=partial(self.function, asked=asked, waits=waits))

    @property
    def kept(self) -> JsonObject:
        """The definition as it is kept beside the calls."""
        return {name: _short(value) for name, value in self.shown.items()}

    def change_since(self, shown: McpShown) -> McpChange | None:
        """Say what is not as it was *shown*; None where all is."""
        if shown.digest == self.digest:
            return None
        before, now = shown.definition, self.kept
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        what = ", ".join(names) or "something"
        difference = Difference(
            why=f"the MCP server {self.server.name} changed the {what} of {self.listed}",
            before=_clipped({name: before.get(name) for name in names}),
            now=_clipped({name: now.get(name) for name in names}),
        )
        by_now = McpShown(server=self.server.name, digest=self.digest, definition=now)
        return McpChange(shown=by_now, effect=self.effect, difference=difference)


def made_tool(server: McpServer, listed: Mapping[str, Any], call: CallFunction) -> McpTool:
    """Make the tool of what *server* lists, as JSON.

    Raises:
        ToolRefusedError: A model could not be offered it.
    """
    name = str(listed["name"])
    schema = object_schema(listed.get("inputSchema"))
    annotations = {key: value for key, value in (listed.get("annotations") or {}).items() if value is not None}
    description = str(listed.get("description") or listed.get("title") or annotations.get("title") or "")
    shown = {"server": server.name, "name": name, "description": description, "inputSchema": schema}
    shown |= {"annotations": annotations}
    if (size := json_size(shown)) > DEFINITION_BYTES:
        raise ToolRefusedError(f"its definition has {size:,} bytes, and at most {DEFINITION_BYTES:,} are offered")
    effect = server.effect_of(name, annotations)
    return McpTool(
        function=call,
        name=offered_name(server, name),
        description=scrub(description),
        effect=effect,
        approval=server.approval_of(name, effect),
        on_unknown=server.on_unknown,
        timeout=server.timeout,
        on_error=server.on_error if server.on_error == "fail" else _told,
        idempotency_key=None,
        task_queue=None,
        is_async=True,
        form=_FORM,
        context_type=None,
        retry=None if effect == "at_most_once" else AGAIN,
        arguments_model=_NoModel,
        parameters=schema,
        strict=False,
        _schema={},
        server=server,
        listed=name,
        shown=shown,
        digest=text_digest(shown),
    )


def offered_name(server: McpServer, name: str) -> str:
    """Return the name by which a model calls a server's tool: MCP allows more characters, and longer names."""
    wanted = server.prefix + name
    if NAME_PATTERN.fullmatch(wanted):
        return wanted
    spelled = re.sub(r"[^a-zA-Z0-9_-]", "_", wanted) or "_"
    if len(spelled) <= LONGEST_NAME:
        return spelled
    digest = hashlib.sha256(wanted.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{spelled[: LONGEST_NAME - 9]}_{digest}"


def _told(_: ToolContext[Any], error: Exception) -> str:
    """Return the text that the model reads of a call that failed: the server's own words, where it said some."""
    named = "" if isinstance(error, McpToolError | McpUnavailableError) else f"{type(error).__name__}: "
    return f"Error: {named}{error}"


def object_schema(given: object) -> JsonObject:
    """Return the JSON schema of an object, as a server gives it.

    Raises:
        ToolRefusedError: It is no such schema.
    """
    if not isinstance(given, dict):
        raise ToolRefusedError("its schema is no object")
    schema: JsonObject = {"type": "object", "properties": {}, **given}
    if schema["type"] != "object" or not isinstance(schema["properties"], dict):
        raise ToolRefusedError("its schema is not that of an object")
    try:
        check_json(schema)
    except JsonProfileError as error:
        raise ToolRefusedError(f"its schema is no JSON that can be kept: {error.problem}") from None
    if (problem := _problem_of_schema(schema)) is not None:
        raise ToolRefusedError(f"its schema is none: {problem}")
    return schema


def _problem_of_schema(schema: JsonObject) -> str | None:
    from jsonschema import SchemaError  # noqa: PLC0415 - of an optional extra

    checked = _without_patterns(schema)
    try:
        _validator_of(checked).check_schema(checked)
    except SchemaError as error:
        return cut(scrub(f"{'.'.join(map(str, error.absolute_path)) or 'schema'}: {error.message}"), 300)[0]
    except RecursionError:
        return "it is nested too deep"
    return None


def problems_of(schema: JsonObject, value: JsonValue, whole: str) -> list[str]:
    """Return where *value*, which is called *whole*, does not satisfy a JSON schema; without the values."""
    return list(_problems(schema, value, whole))


def _problems(schema: JsonObject, value: JsonValue, whole: str) -> Iterator[str]:
    from referencing import Registry  # noqa: PLC0415 - of an optional extra
    from referencing.exceptions import Unresolvable  # noqa: PLC0415

    checked = _without_patterns(schema)
    validator = _validator_of(checked)(checked, registry=Registry())
    try:
        for count, error in enumerate(validator.iter_errors(value)):
            if count == SHOWN_PROBLEMS:
                return
            place = ".".join(map(str, error.absolute_path)) or whole
            yield cut(scrub(f"{place}: {_wanted(error)}"), 300)[0]
    except (Unresolvable, RecursionError):
        return  # the server knows its schema, and checks it too


def _validator_of(schema: JsonObject) -> Any:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - of an optional extra
    from jsonschema.validators import validator_for  # noqa: PLC0415

    return validator_for(schema, default=Draft202012Validator)


def _wanted(error: Any) -> str:
    if error.validator in ("required", "additionalProperties", "dependentRequired"):
        return str(error.message)  # it names keys alone
    return f"must satisfy {error.validator} {json.dumps(error.validator_value)}"


def _without_patterns(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_patterns(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    # What patternProperties lets in is not known without it.
    dropped = (*_PATTERNS, *(_REST if "patternProperties" in schema else ()))
    kept = {name: each for name, each in schema.items() if name not in dropped}
    return {name: _of_keyword(name, each) for name, each in kept.items()}


def _of_keyword(name: str, value: Any) -> Any:
    if name in ("default", "const", "enum", "examples"):
        return value
    if name in ("properties", "$defs", "definitions", "dependentSchemas") and isinstance(value, dict):
        return {inner: _without_patterns(each) for inner, each in value.items()}
    return _without_patterns(value)


def _short(value: JsonValue) -> JsonValue:
    size = json_size(value)
    return value if size <= KEPT_BYTES else {"bytes": size, "digest": text_digest(value)}


def _clipped(value: JsonValue) -> JsonValue:
    """A value as a person is shown it: of a large one the start."""
    return value if json_size(value) <= SHOWN_BYTES else cut(json.dumps(value, ensure_ascii=False), SHOWN_BYTES)[0]
