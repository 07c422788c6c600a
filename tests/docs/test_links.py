"""Links, and names in code, lead to something that is there."""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from support.pages import PAGES, ROOT

MORE: Final = [ROOT / name for name in ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
ALL: Final = [*PAGES, *(page for page in MORE if page.exists())]
ON_THE_WIRE: Final = {
    "archive",
    "call_model",
    "evaluate",
    "log",
    "notify",
    "review",
    "pending_approvals",
    "request",
    "tool",
    "unread",
}
"""Activities, handlers and memo keys: what else begins with ``handfast.`` in a text."""


def _prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that a page has: those that its headings make, as GitHub does, and those that it sets."""
    titles = re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)
    names: dict[str, int] = {}
    made = []
    for title in titles:
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        made.append(f"{name}-{names[name]}" if name in names else name)
        names[name] = names.get(name, 0) + 1
    return frozenset([*made, *re.findall(r'<a id="([^"]+)">', page.read_text())])


def dead(page: Path) -> list[str]:
    """The page's links within the repository that lead nowhere."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Each link of a page leads to a file that is there, and to a heading that it has."""
    assert dead(page) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    """A missing page and a missing heading are named, also within the page; code is none of them."""
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b`, c\n[1](#a-b-c) [2](#d) [3](no.md) [4](page.md#a-b-c) [5](https://x.y)\n```\n[6](7.md)\n```\n"
    )
    assert dead(page) == ["#d", "no.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_dotted_name_is_there(page: Path) -> None:
    """A name like `handfast.worker.serve` in a text is a module of the package, or something in one."""
    missing = []
    for name in set(re.findall(r"`(handfast(?:\.\w+)+)[`(]", _prose(page))):
        if name.split(".")[1] not in ON_THE_WIRE and not _exists(name):
            missing.append(name)
    assert missing == []


def _exists(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return module != "" and hasattr(importlib.import_module(module), attribute)
    return True
