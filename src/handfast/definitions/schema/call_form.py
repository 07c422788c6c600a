"""The way in which a function takes its values: by position, by keyword, as ``*args`` or ``**kwargs``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

__all__ = ["CallForm", "call_form"]


@dataclass(frozen=True, slots=True)
class CallForm:
    """The parameters of a tool's function, from its context and secrets to those that a model fills in.

    Attributes:
        positional: Names of parameters that are passed by position, in their order.
        variadic: Name of ``*args``.
        keywords: Name of ``**kwargs`` that takes any keyword; its values are the extra ones of the arguments model.
        context: Name of the parameter that takes the `ToolContext`.
        droppable: Names that are not passed where the model left them out: optional keys of a TypedDict.
    """

    positional: tuple[str, ...] = ()
    variadic: str | None = None
    keywords: str | None = None
    context: str | None = None
    droppable: frozenset[str] = frozenset()

    def values(self, model: BaseModel) -> dict[str, Any]:
        """Return the values of a validated arguments model by parameter; those of ``**kwargs`` by their own names."""
        fields = type(model).model_fields
        left_out = self.droppable - model.model_fields_set
        named = {name: getattr(model, name) for name in fields if name not in left_out}
        return named if self.keywords is None else {**(model.model_extra or {}), **named}

    def passed(self, values: Mapping[str, Any], context: object) -> tuple[list[Any], dict[str, Any]]:
        """Return positional and keyword arguments of one call.

        Args:
            values: What `values` returned, with secrets.
            context: For the parameter that takes it; None where the function has none.
        """
        left = dict(values)
        if self.context is not None:
            left[self.context] = context
        args = [left.pop(name) for name in self.positional]
        if self.variadic is not None:
            args.extend(left.pop(self.variadic))
        return args, left


def call_form(
    parameters: Mapping[str, inspect.Parameter], *, context: str | None, droppable: frozenset[str]
) -> CallForm:
    """Return how a function with these *parameters* is called."""
    kinds = {name: parameter.kind for name, parameter in parameters.items()}
    variadic = next((name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_POSITIONAL), None)
    by_position: tuple[object, ...] = (inspect.Parameter.POSITIONAL_ONLY,)
    if variadic is not None:  # what stands before it cannot be named: *args would begin in its place
        by_position = (*by_position, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    keywords = next((name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_KEYWORD), None)
    return CallForm(
        positional=tuple(name for name, kind in kinds.items() if kind in by_position),
        variadic=variadic,
        keywords=keywords,
        context=context,
        droppable=droppable,
    )
