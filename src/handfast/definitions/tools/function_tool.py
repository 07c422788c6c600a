"""Tools: typed Python functions that a model may call."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Generic, Literal, TypeAlias, get_args, overload

from typing_extensions import ParamSpec, TypeVar

from handfast.definitions.checks import a_kind, check_choice, check_duration, check_function, check_text
from handfast.definitions.context import RunContext, ToolContext
from handfast.definitions.gates.approval import ApprovalRule
from handfast.definitions.gates.doubt import Ask, OnUnknown, Verify, checked_verify, policy_of
from handfast.definitions.gates.revalidation import Revalidate, checked_revalidate
from handfast.definitions.schema.call_form import CallForm
from handfast.definitions.schema.signature import read_signature
from handfast.definitions.secret import SecretParameter
from handfast.definitions.tools.offered import Offered, check_approval, check_name, offered_schema
from handfast.definitions.tools.options import (
    EnabledRule,
    InputCheck,
    OnCancel,
    OutputCheck,
    Retry,
    ToolInputGuardrail,
    checked_enabled,
    checked_input_guardrails,
    checked_on_cancel,
    checked_output_guardrails,
    checked_retry,
)
from handfast.errors import DefinitionError
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import Effect, UnknownPolicy
from handfast.payloads.tool_call import TOOL_TIMEOUT

__all__ = [
    "Effect",
    "ErrorPolicy",
    "IdempotencyKey",
    "OnError",
    "Tool",
    "UnknownPolicy",
    "check_options",
    "check_queue",
    "tool",
]

P = ParamSpec("P", default=...)
R = TypeVar("R", default=Any)

ErrorPolicy: TypeAlias = Literal["tell_model", "fail"]
OnError: TypeAlias = ErrorPolicy | Callable[[ToolContext[Any], Exception], str | Awaitable[str]]
IdempotencyKey: TypeAlias = Callable[[RunContext[Any], Any], str]

LONGEST_TIMEOUT: Final = timedelta(days=365)
LONGEST_WIRE_NAME: Final = 200
"""Characters of an activity's type or a task queue: they travel in the plan of every call."""


@dataclass(frozen=True, kw_only=True)
class Tool(Offered, Generic[P, R]):
    """A function that a model may call, with its options. Made by `tool`.

    Two tools are equal when they wrap the same function with the same options. Called like its function.

    Attributes:
        function: The wrapped function.
        task_queue: Queue of its activity; None is the run's own.
        form: The way in which the function takes its values.
        context_type: The C of ``ToolContext[C]``, None where there is none.
        secrets: Parameters that the worker fills in.

    The other attributes are the options of `tool`.
    """

    function: Callable[P, R]
    effect: Effect
    on_unknown: OnUnknown | None
    timeout: timedelta
    on_error: OnError
    idempotency_key: IdempotencyKey | None
    task_queue: str | None
    is_async: bool
    form: CallForm = field(compare=False, repr=False)
    context_type: type[Any] | None
    retry: Retry | None = None
    on_cancel: OnCancel | None = None
    input_guardrails: tuple[ToolInputGuardrail, ...] = ()
    output_guardrails: tuple[OutputCheck, ...] = ()
    revalidate: Revalidate | None = None
    verify: Verify | None = None
    secrets: tuple[SecretParameter, ...] = ()

    def __post_init__(self) -> None:
        # functools.update_wrapper assigns, which a frozen dataclass refuses.
        for attribute in ("__module__", "__qualname__", "__doc__"):
            object.__setattr__(self, attribute, getattr(self.function, attribute, None))
        object.__setattr__(self, "__wrapped__", self.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function directly: no validation, no approval, no record."""
        return self.function(*args, **kwargs)

    @property
    def needs_context(self) -> bool:
        """True where the function, a guardrail, `on_cancel`, `revalidate` or `on_error` takes a `ToolContext`."""
        guarded = self.input_guardrails or self.output_guardrails
        asked = guarded or self.on_cancel or self.revalidate
        return bool(self.form.context is not None or asked or callable(self.on_error))

    @property
    def __name__(self) -> str:
        """The function's name, which may differ from the tool's."""
        return self.function.__name__

    def unknown_policy(self, gated: bool) -> UnknownPolicy:
        """Return the policy for a call with an unknown outcome.

        Args:
            gated: A person was asked before the call.
        """
        return policy_of(self.on_unknown) or ("ask" if gated else "tell_model")

    def bind(self, arguments: JsonObject) -> dict[str, Any]:
        """Return the function's values by parameter, as real Python values; without context and secrets.

        Raises:
            ArgumentsInvalidError: As `validate`.
        """
        return self.form.values(self.validate(arguments))


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *,
    effect: Effect = ...,
    approval: ApprovalRule = ...,
    name: str | None = ...,
    description: str | None = ...,
    on_unknown: OnUnknown | None = ...,
    timeout: timedelta = ...,
    on_error: OnError = ...,
    idempotency_key: IdempotencyKey | None = ...,
    task_queue: str | None = ...,
    retry: Retry | None = ...,
    enabled: EnabledRule = ...,
    on_cancel: OnCancel | None = ...,
    input_guardrails: Sequence[InputCheck | ToolInputGuardrail] = ...,
    output_guardrails: Sequence[OutputCheck] = ...,
    revalidate: Revalidate | None = ...,
    verify: Verify | None = ...,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    effect: Effect = "at_most_once",
    approval: ApprovalRule = False,
    name: str | None = None,
    description: str | None = None,
    on_unknown: OnUnknown | None = None,
    timeout: timedelta = TOOL_TIMEOUT,
    on_error: OnError = "tell_model",
    idempotency_key: IdempotencyKey | None = None,
    task_queue: str | None = None,
    retry: Retry | None = None,
    enabled: EnabledRule = True,
    on_cancel: OnCancel | None = None,
    input_guardrails: Sequence[InputCheck | ToolInputGuardrail] = (),
    output_guardrails: Sequence[OutputCheck] = (),
    revalidate: Revalidate | None = None,
    verify: Verify | None = None,
) -> Any:
    """Make a tool of a sync or async function. Used as ``@tool`` or ``@tool(...)``.

    Every parameter needs an annotation that pydantic reads from JSON, and means what it means to
    `pydantic.validate_call`; a `ToolContext` may come first. A Google-style docstring gives the model the description
    and, from ``Args:``, a line for each parameter.

    Args:
        effect: ``"read_only"`` and ``"idempotent"`` calls are retried; ``"at_most_once"`` gets one attempt.
        approval: True or an `Approval`: ask a person always. A function of run context and arguments: ask it.
        name: For the model, and part of the activity's type; the function's name by default.
        description: In place of the docstring's.
        on_unknown: Policy for a call with an unknown outcome; an `Ask` adds terms. None: ask a person where the call
            was gated, else tell the model.
        timeout: Longest time for one attempt, from the start of the body.
        on_error: ``"tell_model"``: an exception becomes text for the model. ``"fail"``: it fails the run. A function of
            `ToolContext` and exception returns the text.
        idempotency_key: A function of run context and arguments, where the business has a better key.
        task_queue: Queue of the workers that have what the tool needs; the run's own by default.
        retry: For ``"read_only"`` and ``"idempotent"``: attempts, pauses, and the exceptions that are tried again.
        enabled: False leaves the tool out of what the model is offered. A function of the run context is asked before
            each model call; where it raises, the tool is left out.
        on_cancel: A function of the tool context, called when a call that runs is told to stop.
        input_guardrails: Functions of tool context and arguments, or `ToolInputGuardrail`; asked in their order when
            the call is about to run.
        output_guardrails: Functions of tool context and what the function returned; asked in their order.
        revalidate: A function of tool context and arguments, asked after an approval, right before the call runs: None
            where the approval still holds, else `Changed` (or a text), and a person is asked anew, unless that very
            answer was what they had approved. One that raises or takes longer than 30 s asks too.
        verify: A function of tool context that finds out whether a call in doubt took effect: `Ran` with the output,
            `RunAgain` where it did not and never will, None where that is not known.

    Raises:
        DefinitionError: The function or an option cannot work.
    """

    def define(function: Callable[P, R]) -> Tool[P, R]:
        chosen = _checked_name(function, name)
        subject = f"tool {chosen!r}"
        check_options(subject, effect, on_unknown, timeout)
        if on_error not in get_args(ErrorPolicy):
            also = "'tell_model', 'fail', or "
            check_function(subject, "on_error", on_error, "the tool context", "the exception", also=also)
        check_approval(subject, approval)
        if idempotency_key is not None:
            check_function(subject, "idempotency_key", idempotency_key, "the run context", "the arguments")
        check_queue(subject, task_queue)
        check_text(subject, "description", description, none=True)
        signature = read_signature(function, subject)
        return Tool(
            function=function,
            name=chosen,
            description=signature.description if description is None else description,
            effect=effect,
            approval=approval,
            on_unknown=on_unknown,
            timeout=timeout,
            on_error=on_error,
            idempotency_key=idempotency_key,
            task_queue=task_queue,
            is_async=inspect.iscoroutinefunction(function),
            form=signature.form,
            context_type=signature.context_type,
            secrets=signature.secrets,
            retry=checked_retry(subject, retry, effect),
            enabled=checked_enabled(subject, enabled),
            on_cancel=checked_on_cancel(subject, on_cancel),
            input_guardrails=checked_input_guardrails(subject, input_guardrails),
            output_guardrails=checked_output_guardrails(subject, output_guardrails),
            revalidate=checked_revalidate(subject, revalidate, approval),
            verify=checked_verify(subject, verify, effect),
            **offered_schema(signature.arguments_model, signature.schema),
        )

    return define if function is None else define(function)


def _checked_name(function: Callable[..., Any], name: str | None) -> str:
    own_name = getattr(function, "__name__", type(function).__name__)
    chosen = own_name if name is None else name
    subject = f"tool {chosen!r}"
    check_name(subject, chosen)
    if isinstance(function, Tool):
        raise DefinitionError(subject, "is a tool already")
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        given: object = function
        remedy = "; write a function that calls it, with what a model may fill in" if callable(given) else ""
        remedy = f"; write name={given!r}" if isinstance(given, str) else remedy
        raise DefinitionError(subject, f"must be made of a function, not of {a_kind(given)}{remedy}")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise DefinitionError(subject, "is a generator; return one value instead of yielding")
    if hasattr(function, "registry") and hasattr(function, "dispatch"):
        raise DefinitionError(subject, "is a functools.singledispatch; take one of its functions, or a union")
    return chosen


def check_options(subject: str, effect: object, on_unknown: object, timeout: object) -> None:
    """Refuse options of a tool that cannot work.

    Raises:
        DefinitionError: For *subject*.
    """
    check_choice(subject, "effect", effect, get_args(Effect))
    if not isinstance(on_unknown, Ask):
        check_choice(subject, "on_unknown", on_unknown, (*get_args(UnknownPolicy), None), also=", or an Ask")
    check_duration(subject, "timeout", timeout, most=LONGEST_TIMEOUT)


def check_queue(subject: str, task_queue: object, option: str = "task_queue") -> None:
    """Refuse what cannot be the name of a task queue or of an activity's type.

    Raises:
        DefinitionError: For *subject*.
    """
    check_text(subject, option, task_queue, filled=True, none=True)
    if isinstance(task_queue, str) and len(task_queue) > LONGEST_WIRE_NAME:
        raise DefinitionError(subject, f"{option} has {len(task_queue)} characters; at most {LONGEST_WIRE_NAME} go")
