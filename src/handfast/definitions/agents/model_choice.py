"""Models that an agent asks one after the other, where one is unavailable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from handfast.definitions.checks import a_kind, check_text
from handfast.errors import DefinitionError

__all__ = ["ModelChoice", "ModelNames", "checked_models"]

PATIENCE: Final = timedelta(minutes=1)
MOST_CHOICES: Final = 10


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """One of several models, for ``Agent(model=[…])``.

    Attributes:
        model: Its name.
        client: Name of the entry of ``HandfastPlugin(models={…})`` that has it; None is the agent's.
        patience: How long it may be unavailable before the next one is asked. A provider that says to wait for longer
            is left at once.

    Raises:
        DefinitionError: One of them cannot work.
    """

    model: str
    client: str | None = None
    patience: timedelta = PATIENCE

    def __post_init__(self) -> None:
        check_text("ModelChoice", "model", self.model, filled=True)
        check_text("ModelChoice", "client", self.client, filled=True, none=True)
        given: object = self.patience
        if not isinstance(given, timedelta) or not timedelta(0) <= given <= timedelta(hours=1):
            raise DefinitionError("ModelChoice", f"patience must be a time of up to one hour, not {given!r}")


ModelNames = str | Sequence[str | ModelChoice] | None
"""A model's name, or several models in the order in which they are asked."""


def checked_models(subject: str, given: object) -> str | tuple[ModelChoice, ...] | None:
    """Read ``model=`` of an agent.

    Raises:
        DefinitionError: It is neither a name nor a list of models, or names one of them twice.
    """
    if given is None or isinstance(given, str) or not isinstance(given, Sequence):
        check_text(subject, "model", given, filled=True, none=True)
        return given if isinstance(given, str) else None
    choices: list[ModelChoice] = []
    for each in given:
        if not isinstance(each, str | ModelChoice):
            raise DefinitionError(subject, f"model must hold names and ModelChoice, not {a_kind(each)}")
        check_text(subject, "model", each if isinstance(each, str) else each.model, filled=True)
        choices.append(ModelChoice(each) if isinstance(each, str) else each)
    if not 1 <= len(choices) <= MOST_CHOICES:
        raise DefinitionError(subject, f"model must hold 1 to {MOST_CHOICES} models, not {len(choices)}")
    if len({(each.model, each.client) for each in choices}) < len(choices):
        raise DefinitionError(subject, "model holds the same model twice")
    return tuple(choices)
