"""A reviewer that asks a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import Any

from handfast.definitions.checks import check_mapping, check_text
from handfast.errors import DefinitionError

__all__ = ["ModelReviewer"]


@dataclass(frozen=True)
class ModelReviewer:
    """A model that judges requests by a policy, for ``Approval(review=…)``.

    It is asked once for each request, without tools, for nothing but a verdict, a reason and a confidence. The policy
    is its instructions. Tool, arguments and conversation are handed to it as data that others wrote.

    Attributes:
        model: The model's name.
        policy: What it approves, what it rejects, and what it leaves to people.
        name: Name under which it decides, as in ``reviewer:NAME``; the model's by default.
        client: Name of the entry of ``HandfastPlugin(models={...})`` that answers it.
        settings: Further fields of the request, as an agent's ``model_settings``.
    """

    model: str
    policy: str
    _: KW_ONLY
    name: str = ""
    client: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for option in ("model", "policy", "client"):
            check_text("ModelReviewer", option, getattr(self, option), filled=True)
        check_text("ModelReviewer", "name", self.name)
        check_mapping("ModelReviewer", "settings", self.settings)
        if "format" in (self.settings.get("text") or {}):
            raise DefinitionError("ModelReviewer", "settings must not hold text.format: its answer has one already")
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))
        object.__setattr__(self, "name", self.name or self.model)
