"""The base of everything that a model may call: name, description, and the schema of its arguments."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticUserError

from handfast.definitions.checks import a_kind, check_count, check_function, check_model_class
from handfast.definitions.gates.approval import Approval, ApprovalRule
from handfast.definitions.schema.json_schema import arguments_schema, drop_titles, strict_schema, takes_digits
from handfast.definitions.schema.refusal import problems_of_arguments
from handfast.definitions.schema.strict_values import from_strict
from handfast.definitions.tools.options import EnabledRule
from handfast.errors import ArgumentsInvalidError, DefinitionError, JsonProfileError
from handfast.payloads.call_items import FUNCTION_CALL
from handfast.payloads.json_profile import JsonObject, check_json, parse_json

__all__ = ["NAME_PATTERN", "Offered", "check_approval", "check_name", "check_turns", "offered_schema", "schema_of"]

NAME_PATTERN: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""Names that the Responses API takes for a function; names of agents follow it too."""


@dataclass(frozen=True, kw_only=True)
class Offered:
    """One thing that a model may call.

    Attributes:
        name: As the model calls it; unique among what one agent offers.
        approval: Rule by which a call waits for a person.
        enabled: False leaves it out of what the model is offered; a rule is asked before each model call.
        arguments_model: pydantic model with one attribute per parameter.
        parameters: JSON schema of the arguments, in strict form where `strict` is True.
        strict: True where the schema could be expressed in strict form; free-form dicts cannot.
        call_type: Kind of item with which the model calls it.
    """

    call_type: ClassVar[str] = FUNCTION_CALL

    name: str
    description: str
    approval: ApprovalRule
    enabled: EnabledRule = True
    arguments_model: type[BaseModel] = field(compare=False, repr=False)
    parameters: JsonObject = field(compare=False, repr=False)
    strict: bool = field(compare=False)
    _schema: JsonObject = field(compare=False, repr=False)

    @property
    def may_be_gated(self) -> bool:
        """True where a call may have to wait for a person; a rule decides for each call."""
        return self.approval is not False

    def definition(self) -> JsonObject:
        """Describe it to the model, as a tool of a Responses request."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
            "strict": self.strict,
        }

    def parse_text(self, arguments: str) -> JsonObject:
        """Decode and validate what the model wrote; the decoded object is returned unchanged.

        Raises:
            ArgumentsInvalidError: It is no JSON object, or does not satisfy the schema.
        """
        try:
            decoded = parse_json(arguments, every_digit=takes_digits(self._schema))
        except JsonProfileError as error:
            raise ArgumentsInvalidError(self.name, [error.problem]) from None
        if not isinstance(decoded, dict):
            raise ArgumentsInvalidError(self.name, ["arguments: Input should be a JSON object"])
        self.validate(decoded)
        return decoded

    def validate(self, arguments: JsonObject) -> BaseModel:
        """Return *arguments* as the arguments model.

        Scalars are never coerced (``"5"`` is no int, ``1.0`` is one); texts become dates, UUIDs and the like where
        declared. A null for anything, at any depth, that has a default and takes no null means the default.

        Raises:
            ArgumentsInvalidError: The text says where and what was expected, without the values.
        """
        try:
            check_json(arguments)
            meant = from_strict(arguments, self._schema)
            check_json(meant)
            return self.arguments_model.model_validate_json(json.dumps(meant), strict=True)
        except JsonProfileError as error:
            raise ArgumentsInvalidError(self.name, [error.problem]) from None
        except ValidationError as error:
            raise ArgumentsInvalidError(self.name, problems_of_arguments(error)) from None
        except SystemExit as error:  # of a validator; it would end the worker, and the next one that gets the same call
            raise ArgumentsInvalidError(self.name, ["a validator raised SystemExit"]) from error


def check_name(subject: str, name: object) -> None:
    """Check a name as the API takes it.

    Raises:
        DefinitionError: For *subject*.
    """
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        raise DefinitionError(subject, f"the name must be 1 to 64 letters, digits, '_' or '-', not {a_kind(name)}")


def check_turns(subject: str, max_turns: object) -> None:
    """Check a limit of turns.

    Raises:
        DefinitionError: For *subject*.
    """
    check_count(subject, "max_turns", max_turns, none="the agent's own limit")


def check_approval(subject: str, approval: object) -> None:
    """Check an approval option.

    Raises:
        DefinitionError: For *subject*.
    """
    if isinstance(approval, bool | Approval):
        return
    also = "True, False, an Approval, or "
    check_function(subject, "approval", approval, "the run context", "the arguments", also=also)


def schema_of(model: type[BaseModel], subject: str, option: str) -> JsonObject:
    """Return pydantic's own schema of a model that a user gave as *option*.

    Raises:
        DefinitionError: For *subject*: it is no pydantic model, or has no schema.
    """
    check_model_class(subject, option, model)
    try:
        schema = arguments_schema(model)
    except (PydanticUserError, NameError, TypeError, ValueError, RecursionError) as error:
        problem = next(iter(str(error).splitlines()), type(error).__name__)
        raise DefinitionError(subject, f"{option} has no JSON schema: {problem}") from error
    if schema.get("type") != "object":
        raise DefinitionError(subject, f"{option} must be a model with fields, not one of a bare value")
    return schema


def offered_schema(model: type[BaseModel], schema: JsonObject) -> dict[str, Any]:
    """Return the fields of `Offered` that follow from an arguments model and pydantic's own schema of it."""
    strict = strict_schema(schema)
    return {
        "arguments_model": model,
        "parameters": drop_titles(schema) if strict is None else strict,
        "strict": strict is not None,
        "_schema": schema,
    }
