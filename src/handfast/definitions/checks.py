"""Check option values of definitions: the error says in one sentence what was given and what is wanted."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeGuard

from pydantic import BaseModel

from handfast.errors import DefinitionError
from handfast.payloads.usage import MOST_PLACES, plain

__all__ = [
    "a_kind",
    "check_amount",
    "check_bool",
    "check_choice",
    "check_count",
    "check_duration",
    "check_function",
    "check_mapping",
    "check_model_class",
    "check_text",
    "is_model_class",
    "listed",
]

_SHOWN_CHARACTERS = 40


def a_kind(given: object) -> str:
    """Name the kind of a value for an error: "a dict", "the class Desk", "None", "the text 'billing'"."""
    if given is None or isinstance(given, bool):
        return str(given)
    if isinstance(given, type):
        return f"the class {given.__name__}"
    if isinstance(given, str):
        return f"the text {given[:_SHOWN_CHARACTERS]!r}"
    name = type(given).__name__
    if name in ("function", "method", "builtin_function_or_method"):
        return f"the function {getattr(given, '__name__', name)}"
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def listed(subject: str, option: str, given: object, wanted: str) -> list[Any]:
    """Return the members of a list, a tuple or another iterable.

    Args:
        subject: For the error: which definition.
        option: Which of its options.
        given: The option's value.
        wanted: What the list holds, in the plural.

    Raises:
        DefinitionError: It is a text, a mapping, or one thing that should stand in a list.
    """
    if isinstance(given, str):
        raise DefinitionError(
            subject, f"{option} must be a list of {wanted}, not {a_kind(given)}; write [{given[:_SHOWN_CHARACTERS]!r}]"
        )
    if isinstance(given, type | Mapping | bytes | BaseModel) or not isinstance(given, Iterable):
        remedy = "write [] for none" if given is None else "put it in a list"
        raise DefinitionError(subject, f"{option} must be a list of {wanted}, not {a_kind(given)}; {remedy}")
    return list(given)


def check_text(subject: str, option: str, given: object, *, filled: bool = False, none: bool = False) -> None:
    """Check a text; *filled*: it must not be empty; *none*: it may be None.

    Raises:
        DefinitionError: It is none.
    """
    if none and given is None:
        return
    if not isinstance(given, str) or (filled and not given):
        wanted = f"{'a text that is not empty' if filled else 'a text'}{' or None' if none else ''}"
        raise DefinitionError(subject, f"{option} must be {wanted}, not {a_kind(given)}")


def check_bool(subject: str, option: str, given: object) -> None:
    """Check a switch.

    Raises:
        DefinitionError: It is neither True nor False.
    """
    if not isinstance(given, bool):
        raise DefinitionError(subject, f"{option} must be True or False, not {a_kind(given)}")


def check_count(
    subject: str, option: str, given: object, *, least: int = 1, most: int | None = None, none: str | None = None
) -> None:
    """Check an integer; *none* says what None stands for, where it may be None.

    Raises:
        DefinitionError: It is no integer, or out of bounds.
    """
    if none is not None and given is None:
        return
    fits = isinstance(given, int) and not isinstance(given, bool) and given >= least and (most is None or given <= most)
    if not fits:
        bounds = f"of at least {least:,}" if most is None else f"from {least:,} to {most:,}"
        ending = "" if none is None else f", or None for {none}"
        shown = given if isinstance(given, int) and not isinstance(given, bool) else a_kind(given)
        raise DefinitionError(subject, f"{option} must be an integer {bounds}{ending}, not {shown}")


def check_duration(
    subject: str,
    option: str,
    given: object,
    *,
    most: timedelta | None = None,
    least: timedelta | None = None,
    none: str | None = None,
) -> None:
    """Check a timedelta; *none* says what None stands for, where it may be None.

    Raises:
        DefinitionError: It is none, not positive, or out of bounds.
    """
    if none is not None and given is None:
        return
    wanted = "a positive timedelta" if least is None else f"a timedelta of at least {_span(least)}"
    if most is not None:
        wanted += f" of at most {_span(most)}"
    if none is not None:
        wanted += f", or None for {none}"
    if not isinstance(given, timedelta):
        remedy = f"; write timedelta(seconds={given})" if isinstance(given, int | float) else ""
        raise DefinitionError(subject, f"{option} must be {wanted}, not {a_kind(given)}{remedy}")
    if given <= timedelta(0) or (least is not None and given < least) or (most is not None and given > most):
        raise DefinitionError(subject, f"{option} must be {wanted}, not {given}")


def _span(span: timedelta) -> str:
    return str(span).removesuffix(", 0:00:00")


def check_choice(subject: str, option: str, given: object, choices: Collection[object], also: str = "") -> None:
    """Check one of a few values; *also* says what else is possible.

    Raises:
        DefinitionError: It is none of them.
    """
    try:
        known = given in choices
    except TypeError:  # it cannot be hashed, or compared
        known = False
    if not known:
        names = ", ".join(map(repr, choices))
        raise DefinitionError(subject, f"{option} must be one of {names}{also}, not {a_kind(given)}")


def check_function(
    subject: str, option: str, given: object, *takes: str, also: str = ""
) -> TypeGuard[Callable[..., Any]]:
    """Check a function of exactly the arguments that *takes* names; *also* says what else is possible. Always true.

    Raises:
        DefinitionError: It is none, it is a class, or it takes other arguments.
    """
    arguments = " and ".join(takes)
    if not callable(given) or isinstance(given, type):
        raise DefinitionError(subject, f"{option} must be {also}a function of {arguments}, not {a_kind(given)}")
    wrong = f"{option}, given {arguments}, must take exactly {_positional(len(takes))}"
    try:
        signature = inspect.signature(given)
        signature.bind(*takes)
    except (TypeError, ValueError):
        raise DefinitionError(subject, wrong) from None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if sum(parameter.kind in positional for parameter in signature.parameters.values()) != len(takes):
        raise DefinitionError(subject, wrong)
    return True


def _positional(count: int) -> str:
    return "one positional argument" if count == 1 else f"{count} positional arguments"


def check_mapping(subject: str, option: str, given: object) -> None:
    """Check a mapping whose keys are texts.

    Raises:
        DefinitionError: It is none.
    """
    if not isinstance(given, Mapping):
        raise DefinitionError(subject, f"{option} must be a dict, not {a_kind(given)}")
    for key in given:
        if not isinstance(key, str):
            raise DefinitionError(subject, f"{option} must have texts as keys, not {a_kind(key)}")


def is_model_class(given: object) -> TypeGuard[type[BaseModel]]:
    """Tell a pydantic model class from other values."""
    return isinstance(given, type) and issubclass(given, BaseModel)


def check_model_class(subject: str, option: str, given: object) -> TypeGuard[type[BaseModel]]:
    """Check a pydantic model class. Always true.

    Raises:
        DefinitionError: It is none.
    """
    if not is_model_class(given):
        remedy = f"; give the class {type(given).__name__}" if isinstance(given, BaseModel) else ""
        raise DefinitionError(subject, f"{option} must be a pydantic model class, not {a_kind(given)}{remedy}")
    return True


def check_amount(
    subject: str, option: str, given: object, *, places: int = MOST_PLACES, zero: bool = False, none: str | None = None
) -> Decimal | None:
    """Read an amount of money: a number, or a text of one.

    Args:
        subject: The definition.
        option: Its option.
        given: The amount.
        places: Most places behind the point.
        zero: It may be 0.
        none: What None stands for; without it, None is no amount.

    Raises:
        DefinitionError: It is none.
    """
    if none is not None and given is None:
        return None
    try:
        is_amount = isinstance(given, Decimal | int | float | str) and not isinstance(given, bool)
        read = Decimal(str(given)) if is_amount else None
    except InvalidOperation:
        read = None
    exponent = None if read is None else read.as_tuple().exponent
    least = Decimal(0) if zero else Decimal(10) ** -places
    if read is None or not isinstance(exponent, int) or not least <= read <= Decimal(10**12) or -exponent > places:
        more = f", or None for {none}" if none is not None else ""
        raise DefinitionError(subject, f"{option} must be an amount of money such as 0.25{more}, not {given!r}")
    return plain(read)
