"""Show the words that a run is writing, in a terminal."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from handfast.cli.output import one_line
from handfast.client.merge import Item
from handfast.payloads.deltas import Delta, DeltasDiscarded
from handfast.payloads.events import (
    AgentFinished,
    ModelFailed,
    ModelReplied,
    RunFinished,
    ToolCancelled,
    ToolFailed,
    ToolOutput,
)

SHOWN: Final = 600
"""The latest characters of each text."""
_LABELS: Final = {"reasoning": "thinks: ", "arguments": "calls with ", "text": ""}


class Words:
    """The texts under way, by frame: gone as soon as they stand in a reply, or are void."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], list[str]] = {}
        self._kinds: dict[tuple[str, str], Delta] = {}

    def take(self, item: Item) -> None:
        """Take over an item."""
        match item:
            case Delta():
                self._said(item)
            case DeltasDiscarded() | ModelReplied() | ModelFailed() | AgentFinished() | RunFinished():
                self._forget((item.frame, ""))
            case ToolOutput() | ToolFailed() | ToolCancelled():
                self._forget((item.frame, item.call_id))

    def lines(self) -> list[Text]:
        """Make one block of each text."""
        return [
            Text.assemble((f"  {_who(self._kinds[place])}  ", "bold"), (_shown(self._kinds[place], texts), "italic"))
            for place, texts in self._texts.items()
        ]

    def _said(self, delta: Delta) -> None:
        tool = delta.kind == "tool_progress"
        place = (delta.frame, (delta.call_id or "") if tool else "")
        last = self._kinds.get(place)
        if tool or last is None or (last.kind, last.item) != (delta.kind, delta.item):
            self._texts[place] = []
        self._kinds[place] = delta
        self._texts[place].append(delta.text)

    def _forget(self, place: tuple[str, str]) -> None:
        self._texts.pop(place, None)
        self._kinds.pop(place, None)


def _who(delta: Delta) -> str:
    return one_line(" > ".join(delta.agent_path))


def _shown(delta: Delta, texts: list[str]) -> str:
    text = one_line("".join(texts))
    cut = text if len(text) <= SHOWN else f"…{text[-SHOWN:]}"
    return f"{_LABELS.get(delta.kind, '')}{cut}"
