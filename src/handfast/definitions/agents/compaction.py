"""Compaction and truncation: two ways to send a model less of a long conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from handfast.definitions.checks import a_kind, check_count
from handfast.definitions.tools.offered import NAME_PATTERN
from handfast.errors import DefinitionError

if TYPE_CHECKING:
    from handfast.definitions.agents.agent import Agent


__all__ = ["Compact", "Truncate", "checked_compaction", "checked_truncation"]

PROVIDER: Final = "provider"
SERVER: Final = "server"
SMALLEST_SERVER_TOKENS: Final = 1000
"""The lowest threshold that the API takes in ``context_management``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compact:
    """Replace the start of a grown conversation by a summary, for ``Agent(compaction=…)``.

    Compaction takes place between two turns, when every call has its output and no request is open. The run's
    transcript keeps everything. Where it fails, the model goes on reading all of it, and it is tried again some turns
    later.

    Attributes:
        at_tokens: Input tokens of a model call, as the provider counts them, from which on compaction follows it.
        by: ``"provider"``: the provider's ``POST /responses/compact``. ``"server"``: the provider does it by itself
            within a normal reply (``context_management``, from 1,000 tokens on). An agent, or its name: it reads the
            conversation as text and writes a summary, with its own model and instructions, and no tools.
        keep_turns: The last turns that stay as they are, apart from what the model has yet to read; not for
            ``"server"``.

    Raises:
        DefinitionError: One of them cannot work.
    """

    at_tokens: int
    by: Agent | str = PROVIDER
    keep_turns: int = 1

    def __post_init__(self) -> None:
        smallest = SMALLEST_SERVER_TOKENS if self.by == SERVER else 1
        for field, least in (("at_tokens", smallest), ("keep_turns", 0)):
            check_count("Compact", field, getattr(self, field), least=least)
        name = self.by if isinstance(self.by, str) else getattr(self.by, "name", None)
        if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
            raise DefinitionError(
                "Compact", f'by must be "provider", "server", an agent, or an agent\'s name, not {a_kind(self.by)}'
            )

    @property
    def agent(self) -> str | None:
        """Name of the agent that writes the summary; None where the provider does."""
        if isinstance(self.by, str):
            return None if self.by in (PROVIDER, SERVER) else self.by
        return self.by.name

    @property
    def within_replies(self) -> bool:
        """True where the provider compacts by itself, within a normal reply."""
        return self.by == SERVER


def checked_compaction(subject: str, compaction: object, *, truncated: bool, managed: bool) -> Compact | None:
    """Check the compaction option and return it.

    Args:
        subject: For the error: the agent.
        compaction: The option.
        truncated: The agent has a truncation too.
        managed: Its model settings say ``context_management`` themselves.

    Raises:
        DefinitionError: It is of another kind, or contradicts one of those.
    """
    if compaction is None:
        return None
    if not isinstance(compaction, Compact):
        raise DefinitionError(subject, f"compaction must be a Compact(…) or None, not {a_kind(compaction)}")
    if truncated:
        raise DefinitionError(subject, "give compaction or truncation: what was made short would be cut off again")
    if compaction.within_replies and managed:
        raise DefinitionError(subject, "model_settings holds context_management, which compaction by the server sets")
    return compaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate:
    """Send the model the end of a conversation only, for ``Agent(truncation=…)``.

    The start is left out so that nothing is torn apart: no output without its call, no call without its output, no
    reasoning without what it led to. What the model has yet to read always stays, and the run's transcript keeps it
    all. Where several are given, all of them hold.

    Attributes:
        keep_items: Most items.
        keep_turns: The last replies of the model, each with the messages before it and the outputs of its calls.
        keep_tokens: About how many tokens, at four bytes each: no provider has counted them.

    Raises:
        DefinitionError: None of them is given, or one is no positive integer.
    """

    keep_items: int | None = None
    keep_turns: int | None = None
    keep_tokens: int | None = None

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("keep_items", "keep_turns", "keep_tokens")}
        if all(value is None for value in given.values()):
            raise DefinitionError("Truncate", "give keep_items, keep_turns or keep_tokens")
        for name, value in given.items():
            check_count("Truncate", name, value, none="no bound")


def checked_truncation(subject: str, truncation: object) -> Truncate | None:
    """Check the truncation option and return it.

    Raises:
        DefinitionError: It is of another kind.
    """
    if truncation is None or isinstance(truncation, Truncate):
        return truncation
    raise DefinitionError(subject, f"truncation must be a Truncate(…) or None, not {a_kind(truncation)}")
