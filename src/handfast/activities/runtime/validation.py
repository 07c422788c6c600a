"""Runs the validators of the user's pydantic models, in a thread and with a time limit like other user code."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.user_code import Problem, ask
from handfast.activities.runtime.user_errors import log_error
from handfast.definitions.schema.output_type import OutputType
from handfast.definitions.tools.function_tool import Tool
from handfast.definitions.tools.offered import Offered
from handfast.errors import ArgumentsInvalidError, OutputInvalidError
from handfast.payloads.base import problems_of
from handfast.payloads.json_profile import JsonObject

VALIDATION_S: Final = 5.0
"""Time limit of the validators of one value."""
NOT_RUN: Final = "the call is not run"

Given = TypeVar("Given")
Read = TypeVar("Read")
Refusal = TypeVar("Refusal", bound=Exception)


class ValidatorFailedError(Exception):
    """A validator gave no verdict. The text is written for the model to read: "AttributeError: no such field".

    Attributes:
        timed_out: True where the validator took too long.
    """

    def __init__(self, text: str, *, timed_out: bool) -> None:
        super().__init__(text)
        self.timed_out = timed_out


class _Refused:
    """Carries an expected refusal out of the thread as a value: it is no mistake of the user's, and is not logged."""

    def __init__(self, error: Exception) -> None:
        self.error = error


async def validated(
    validate: Callable[[Given], Read],
    given: Given,
    *,
    of: Offered,
    threads: Executor,
    then: str = NOT_RUN,
    within: float = VALIDATION_S,
) -> Read:
    """Validate the arguments of a call.

    Args:
        validate: A method of *of*.
        given: Its argument.
        of: The tool that is called.
        threads: Where the validators run.
        then: For the log: what follows where one of them raises.
        within: Seconds that they may take.

    Raises:
        ArgumentsInvalidError: They do not satisfy the schema.
        ValidatorFailedError: A validator raised anything but a ValueError, or took too long.
    """
    owner: object = of.function if isinstance(of, Tool) else of.arguments_model
    asked = _Asked(f"a validator of the arguments of {of.name}", owner, ArgumentsInvalidError, then)
    answer = await asked.answer(validate, given, threads, within)
    if isinstance(answer, Problem):
        text = answer.error or f"validating the arguments {answer.brief}"
        raise ValidatorFailedError(text, timed_out=answer.error is None)
    return answer


async def validated_output(
    read: Callable[[Given], Read], given: Given, *, of: OutputType, threads: Executor, then: str
) -> Read:
    """Validate an answer against the agent's output type.

    Args:
        read: A method of *of*.
        given: Its argument.
        of: The output type.
        threads: Where the validators run.
        then: For the log: what follows where one of them raises.

    Raises:
        OutputInvalidError: It does not fit, or a validator raised or took too long.
    """
    asked = _Asked(f"a validator of the output type {of.name}", None, OutputInvalidError, then)
    answer = await asked.answer(read, given, threads)
    if isinstance(answer, Problem):
        raise OutputInvalidError(of.name, [f"output: its validator {answer.brief}"])
    return answer


async def validated_context(raw: JsonObject | None, kind: type[Any] | None, threads: Executor) -> Any:
    """Build the run's context; without a pydantic model it stays plain JSON.

    Raises:
        ApplicationError: ``ContextInvalid``: it does not fit *kind*.
    """
    if not (inspect.isclass(kind) and issubclass(kind, BaseModel)):
        return raw
    asked = _Asked(f"a validator of the context {kind.__name__}", kind, ValidationError)
    try:
        context = await asked.answer(kind.model_validate, raw or {}, threads)
    except ValidationError as error:
        problem = "; ".join(problems_of(error))
    else:
        if not isinstance(context, Problem):
            return context
        problem = f"a validator {context.brief}"
    raise ApplicationError(
        f"the run's context is no {kind.__name__}: {problem}", type="ContextInvalid", non_retryable=True
    )


@dataclass(frozen=True)
class _Asked(Generic[Refusal]):
    """The words with which the log tells of a validation.

    Attributes:
        owner: Whose module says which frames are the user's own.
        refusal: Raised where a value does not fit.
    """

    name: str
    owner: object
    refusal: type[Refusal]
    then: str = ""

    async def answer(
        self, function: Callable[[Given], Read], given: Given, threads: Executor, within: float = VALIDATION_S
    ) -> Read | Problem:
        def validating() -> Read | _Refused:
            try:
                return function(given)
            except self.refusal as error:
                return _Refused(error)

        validating.__module__ = getattr(self.owner, "__module__", None) or __name__
        answer: Read | _Refused | Problem = await ask(
            validating, name=self.name, within=within, threads=threads, then=self.then
        )
        if not isinstance(answer, _Refused):
            return answer
        if answer.error.__cause__ is not None:
            log_error(self.name, answer.error.__cause__, self.then, function=validating)
        raise answer.error
