"""docs/events.md names every event."""

from __future__ import annotations

from handfast.payloads.events import EVENT_TYPES
from support.pages import ROOT


def test_every_event_is_documented() -> None:
    """The page of events has a line for each type and class."""
    page = (ROOT / "docs/events.md").read_text()
    assert [kind for kind, each in EVENT_TYPES.items() if f"| `{kind}` | `{each.__name__}` |" not in page] == []
