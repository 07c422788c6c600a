"""Questions: a tool with which an agent asks a person; its output is the answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from handfast.definitions.checks import a_kind, check_model_class, check_text
from handfast.definitions.gates.approval import Approval
from handfast.definitions.gates.escalation import Escalation
from handfast.definitions.schema.json_schema import arguments_schema, drop_titles
from handfast.definitions.schema.refusal import problems_of_arguments
from handfast.definitions.schema.strict_values import from_strict
from handfast.definitions.tools.offered import Offered, check_name, offered_schema
from handfast.definitions.tools.options import EnabledRule, checked_enabled
from handfast.errors import DefinitionError, JsonProfileError
from handfast.payloads.base import json_size
from handfast.payloads.json_profile import JsonObject, JsonValue, check_json

__all__ = ["AskPerson", "OnNoAnswer", "Question", "question"]

OnNoAnswer: TypeAlias = Literal["reject", "fail"]

FORM_BYTES: Final = 8192
"""Largest JSON schema of a form: it travels with every request."""


class AskPerson(BaseModel):
    """Arguments of a call to a question."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    question: str = Field(min_length=1, description="What the person reads.")


_SCHEMA: Final = offered_schema(AskPerson, arguments_schema(AskPerson))


@dataclass(frozen=True, kw_only=True)
class Question(Offered):
    """A tool that runs no code: a person answers its calls. Made by `question`.

    Attributes:
        form: pydantic model that an answer must satisfy; None takes any text.
        form_schema: JSON schema of the form, for programs that show one.
    """

    form: type[BaseModel] | None
    form_schema: JsonObject | None = field(compare=False, repr=False)

    def problem_with(self, answer: JsonValue) -> str | None:
        """Return the problems of *answer*, field by field; None where there are none.

        As for a call's arguments, scalars are never coerced, and a null for a field with a default stands for it.
        """
        if self.form is None:
            return None if isinstance(answer, str) and answer.strip() else "the answer must be a text, and not empty"
        try:
            check_json(answer)
            meant = from_strict(answer, self.form_schema or {})
            self.form.model_validate_json(json.dumps(meant), strict=True)
        except JsonProfileError as error:
            return f"the answer to {self.name} is not JSON: {error.problem}"
        except ValidationError as error:
            return f"the answer to {self.name} does not fit: {'; '.join(problems_of_arguments(error))}"
        return None


def question(
    *,
    name: str = "ask_person",
    description: str = "Ask a person. Use it when only a person can know or decide; the answer comes back to you.",
    form: type[BaseModel] | None = None,
    enabled: EnabledRule = True,
    deadline: timedelta | datetime | None = None,
    on_deadline: OnNoAnswer = "reject",
    approvers: Sequence[str] = (),
    remind: Sequence[timedelta] = (),
    escalate: Sequence[Escalation] = (),
) -> Question:
    """Make a tool with which an agent asks a person a question.

    The model writes the ``question``; a request of kind *question* opens, and the person's answer is the call's output.

    Args:
        name: For the model, and shown with the request.
        description: Purpose, for the model: when to ask, and whom.
        form: A pydantic model: the answer is JSON that satisfies it, and the model reads that JSON. None: any text.
        enabled: As `handfast.tool`: a bool, or a function of the run context, asked before each model call.
        deadline: Time that the request stays open, or the end of it; None is for ever.
        on_deadline: ``"reject"``: without an answer the model reads that there is none. ``"fail"``: the run fails.
        approvers: People and groups who may answer, as in an `Approval`. Empty: anybody.
        remind: As in an `Approval`.
        escalate: As in an `Approval`.

    Raises:
        DefinitionError: An option cannot work, or the form's JSON schema has more than 8 KB.
    """
    subject = f"question {name!r}"
    check_name(subject, name)
    check_text(subject, "description", description)
    if on_deadline not in get_args(OnNoAnswer):
        raise DefinitionError(
            subject,
            f"on_deadline must be 'reject' or 'fail', not {a_kind(on_deadline)}: nobody can answer in a person's place",
        )
    return Question(
        name=name,
        description=description,
        approval=Approval(
            deadline=deadline, on_deadline=on_deadline, approvers=approvers, remind=remind, escalate=escalate
        ),
        enabled=checked_enabled(subject, enabled),
        form=form,
        form_schema=None if form is None else _schema_of(subject, form),
        **_SCHEMA,
    )


def _schema_of(subject: str, form: type[BaseModel]) -> JsonObject:
    check_model_class(subject, "form", form)
    try:
        schema = drop_titles(arguments_schema(form))
        check_json(schema)
    except Exception as error:
        raise DefinitionError(subject, f"the form has no JSON schema: {type(error).__name__}: {error}") from error
    if (size := json_size(schema)) > FORM_BYTES:
        raise DefinitionError(
            subject, f"the form's JSON schema has {size:,} bytes; at most {FORM_BYTES:,} go with a request"
        )
    return schema
