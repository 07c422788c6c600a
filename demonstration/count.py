"""Compare decisions with the effects that followed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from activities.books import LEDGER
from activities.refund import FREE_UP_TO
from activities.workspace import JOURNAL, Workspace
from demonstration.evidence import FILES, ToolRun, files_in, lines_of, look
from demonstration.person import described
from handfast import Request


@dataclass
class Decided:
    """One call that people were asked about.

    Attributes:
        target: Target of a cleanup; None for another tool.
        approved: True once a person has approved it.
        decisions: Decisions of people, in order.
    """

    call: str
    tool: str
    target: str | None
    approved: bool = False
    decisions: list[str] = field(default_factory=list)


class Count:
    """Notes decisions, and counts effects at the end."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._decided: dict[str, Decided] = {}

    def note(self, request: Request, decision: str, *, approved: bool = False) -> None:
        """Note a decision about a call; an approved call stays approved."""
        target = (request.arguments or {}).get("target")
        call = f"{request.tool}(…)" if request.kind == "question" else described(request)
        fresh = Decided(call, request.tool or "", None if target is None else str(target))
        noted = self._decided.setdefault(request.call_id or "", fresh)
        noted.decisions.append(decision)
        noted.approved = noted.approved or approved

    def rows(self, runs: Sequence[ToolRun]) -> list[tuple[str, str, str, str]]:
        """Return the table of the summary."""
        rows = [("call", "took effect", "evidence", "decision")]
        for call_id, each in self._decided.items():
            effects = "" if each.tool.startswith("ask_") else times(self._effects(call_id, each))
            rows.append((each.call, effects, self._evidence(each), "; ".join(each.decisions)))
        free = Counter(run.tool if len(run.path) == 1 else f"{run.tool}, by the {run.path[-1]}" for run in runs)
        gated = {each.tool for each in self._decided.values()}
        rows += [(name, calls(count), "", "none needed") for name, count in free.items() if name not in gated]
        return rows

    def wrong(self, runs: Sequence[ToolRun]) -> list[str]:
        """Return each difference between decisions and effects; there should be none."""
        wrong = []
        for call_id, each in self._decided.items():
            effects, expected = self._effects(call_id, each), int(each.approved)
            if effects != expected:
                wrong.append(f"{each.call} took effect {effects} time(s), but {expected} is what people decided")
        journal, ledger = lines_of(self._workspace, JOURNAL), lines_of(self._workspace, LEDGER)
        unasked = [line for line in journal if line["call"] not in self._decided]
        unasked += [line for line in ledger if line["call"] not in self._decided and line["amount"] > FREE_UP_TO]
        wrong += [f"nobody was asked about {line}" for line in unasked]
        for target, count in FILES.items():
            deleted = sum(line["files"] for line in journal if line["target"] == target)
            if files_in(self._workspace, target) != count - deleted:
                wrong.append(f"{target} has {files_in(self._workspace, target)} files left, {deleted} were deleted")
        if not any(each.tool in ("run_cleanup", "refund") for each in self._decided.values()):
            wrong.append("nobody was asked for anything")
        if not any(run.tool == "run_diagnostic" for run in runs):
            wrong.append("no diagnostic ran")
        return wrong

    @property
    def approved(self) -> bool:
        """Return True where people have approved a call."""
        return any(each.approved for each in self._decided.values())

    def _effects(self, call_id: str, each: Decided) -> int:
        return look(self._workspace, each.tool, call_id, each.target).lines

    def _evidence(self, each: Decided) -> str:
        if each.target is not None:
            return f"files {FILES.get(each.target, 0)} -> {files_in(self._workspace, each.target)}"
        if each.tool == "refund":
            paid = sum(line["amount"] for line in lines_of(self._workspace, LEDGER))
            return f"{paid:.2f} paid back"
        return ""


def times(count: int) -> str:
    """Word a number of times."""
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def calls(count: int) -> str:
    """Word a number of calls, each of which ran once."""
    return {1: "one call", 2: "two calls"}.get(count, f"{count} calls")
