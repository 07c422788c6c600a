"""Tools made of activities that exist already, on any task queue and in any language."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, get_args

from pydantic import BaseModel, ConfigDict

from handfast.definitions.checks import check_choice, check_duration, check_text
from handfast.definitions.gates.approval import ApprovalRule
from handfast.definitions.gates.doubt import OnUnknown, Verify, checked_verify
from handfast.definitions.schema.json_schema import (
    arguments_schema,
    drop_titles,
    has_defaults_without_null,
)
from handfast.definitions.schema.strict_values import from_strict
from handfast.definitions.tools.function_tool import LONGEST_TIMEOUT, ErrorPolicy, check_options, check_queue
from handfast.definitions.tools.offered import Offered, check_approval, check_name, offered_schema, schema_of
from handfast.definitions.tools.options import EnabledRule, checked_enabled
from handfast.errors import ArgumentsInvalidError, DefinitionError
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import Effect
from handfast.payloads.tool_call import TOOL_TIMEOUT

__all__ = ["ActivityTool", "activity_tool"]

PLACEHOLDER_KEY: Final = "hf_" + "0" * 40
"""Stands for the idempotency key where arguments are checked before there is one; keys have this length."""


_DESCRIBED: Final = {"title": "", "description": "", "default": ""}
"""Keywords that a schema may have beside a field's type."""


class _NoArguments(BaseModel):
    """Arguments of an activity without parameters."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True, kw_only=True)
class ActivityTool(Offered):
    """A tool that runs an existing activity. Made by `activity_tool`; the activity's worker need not know of Handfast.

    Attributes:
        activity: Type of the activity.
        task_queue: Queue of its workers; None is the run's own.
        takes_argument: True: it gets the arguments object; False: nothing.
        key_field: Field of the argument that the run fills with the call's idempotency key.
        output_schema: Schema of the result, for the model.
    """

    activity: str
    task_queue: str | None
    effect: Effect
    on_unknown: OnUnknown | None
    on_error: ErrorPolicy
    timeout: timedelta
    heartbeat_timeout: timedelta | None
    start_within: timedelta
    takes_argument: bool
    key_field: str | None
    output_schema: JsonObject | None = field(compare=False)
    verify: Verify | None = None

    def definition(self) -> JsonObject:
        """See base class."""
        described = {} if self.output_schema is None else {"output_schema": self.output_schema}
        return {**super().definition(), **described}

    def validate(self, arguments: JsonObject) -> BaseModel:
        """See base class. Arguments that fit are sent as they are: no null stands for a default here.

        Raises:
            ArgumentsInvalidError: As the base class; also for the field that the run fills, and for unknown fields.
        """
        unknown = sorted(arguments.keys() - self.parameters["properties"].keys())
        if unknown and self._schema.get("additionalProperties", False) is False:
            raise ArgumentsInvalidError(self.name, [f"{name[:64]}: Extra inputs are not permitted" for name in unknown])
        if from_strict(arguments, self._schema) != arguments:
            raise ArgumentsInvalidError(self.name, ["null stands for no default here: leave the field out"])
        filled = arguments if self.key_field is None else {**arguments, self.key_field: PLACEHOLDER_KEY}
        return super().validate(filled)


def activity_tool(
    name: str,
    *,
    input: type[BaseModel] | None = None,
    output: type[BaseModel] | None = None,
    activity: str | None = None,
    task_queue: str | None = None,
    effect: Effect = "at_most_once",
    approval: ApprovalRule = False,
    enabled: EnabledRule = True,
    description: str = "",
    timeout: timedelta = TOOL_TIMEOUT,
    heartbeat_timeout: timedelta | None = None,
    start_within: timedelta = timedelta(hours=1),
    on_error: ErrorPolicy = "tell_model",
    on_unknown: OnUnknown | None = None,
    key_field: str | None = None,
    verify: Verify | None = None,
) -> ActivityTool:
    """Make a tool of an activity that exists already, in any language.

    The workflow starts it directly. Its one argument is the arguments object as JSON, its result is the call's output.
    It has no begun mark: every timeout of an ``at_most_once`` one is in doubt.

    Args:
        name: As the model calls it.
        input: pydantic model of the activity's argument; None for an activity without one.
        output: pydantic model of its result, which is described to the model, and not checked.
        activity: Type of the activity; *name* by default.
        task_queue: Queue that its workers poll; the run's own by default.
        effect: As `handfast.tool`.
        approval: As `handfast.tool`; a rule gets the arguments as *input*.
        enabled: As `handfast.tool`.
        description: Purpose of the activity, for the model.
        timeout: Longest time for one attempt.
        heartbeat_timeout: Only for an activity that heartbeats. Without it, the activity cannot hear of a cancel: the
            run does not wait for it, and the call is in doubt.
        start_within: Time to wait for a worker to take it, before a person is asked.
        on_error: As `handfast.tool`.
        on_unknown: As `handfast.tool`.
        key_field: Field of *input*, a plain string, that the run fills with the call's idempotency key; the model
            does not see it.
        verify: As `handfast.tool`. It runs in a worker of the agents, not of the activity.

    Raises:
        DefinitionError: Something about it cannot work.
    """
    subject = f"activity tool {name!r}"
    check_name(subject, name)
    check_options(subject, effect, on_unknown, timeout)
    check_choice(subject, "on_error", on_error, get_args(ErrorPolicy))
    check_approval(subject, approval)
    check_duration(subject, "start_within", start_within, most=LONGEST_TIMEOUT)
    check_duration(subject, "heartbeat_timeout", heartbeat_timeout, most=LONGEST_TIMEOUT, none="none")
    check_queue(subject, task_queue)
    check_queue(subject, activity, "activity")
    check_text(subject, "description", description)
    return ActivityTool(
        name=name,
        description=description,
        approval=approval,
        enabled=checked_enabled(subject, enabled),
        activity=activity or name,
        task_queue=task_queue,
        effect=effect,
        on_unknown=on_unknown,
        on_error=on_error,
        timeout=timeout,
        heartbeat_timeout=heartbeat_timeout,
        start_within=start_within,
        takes_argument=input is not None,
        key_field=key_field,
        output_schema=None if output is None else drop_titles(schema_of(output, subject, "output")),
        verify=checked_verify(subject, verify, effect),
        **_input_schema(subject, input, key_field),
    )


def _input_schema(subject: str, model: type[BaseModel] | None, key_field: str | None) -> dict[str, Any]:
    if model is None:
        if key_field is not None:
            raise DefinitionError(subject, "key_field names a field of input; there is no input")
        return offered_schema(_NoArguments, arguments_schema(_NoArguments))
    schema = schema_of(model, subject, "input")
    schema = {**schema, "properties": schema.get("properties", {})}
    if key_field is not None:
        wanted = schema["properties"].get(key_field, {})
        if {**wanted, **_DESCRIBED} != {"type": "string", **_DESCRIBED}:
            raise DefinitionError(subject, f"key_field {key_field!r} must be a field of input, a plain str")
        properties = {name: inner for name, inner in schema["properties"].items() if name != key_field}
        required = [name for name in schema.get("required", ()) if name != key_field]
        schema = {**schema, "properties": properties, "required": required}
    made = offered_schema(model, schema)
    if has_defaults_without_null(schema):
        # In strict form the model would have to send null for such a field, and the activity would get it.
        made |= {"parameters": drop_titles(schema), "strict": False}
    return made
