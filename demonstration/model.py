"""The script that plays the model. Its reports quote the real outputs of the tools."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from activities.caretaker import POLICY
from demonstration.evidence import FILES
from desk import auditor, billing, follow_up, it_support, triage
from handfast.testing import Reply, Script, call, text
from handfast.testing.responses_server import RecordedRequest
from handfast.testing.script import Step

TICKET: Final = (
    "Clean up temp_files, run a thermal diagnostic, clean winsxs_cache. And my order never came: I want my money back."
)
EAGER: Final = "home"
"""What the model would clean as well, though nobody asked for it."""
QUESTION: Final = "Which order never came? Please give me its number."


def scripted() -> Script:
    """A model that knows tickets like `TICKET`, and the follow-up of them; it has nothing to say to any other agent."""
    return Script.of(_next)


def _next(request: RecordedRequest) -> Step | None:
    play = _caretaker if POLICY in request.instructions else _PARTS.get(request.instructions)
    return play(request) if play is not None else None


def _triage(request: RecordedRequest) -> Step:
    if "ask_requester" not in _called(request):
        return Reply(call("ask_requester", {"question": QUESTION}))
    return Reply(call("transfer_to_it_support", {}))


def _it_support(request: RecordedRequest) -> Step:
    targets = [json.loads(item["arguments"])["target"] for item in _calls(request) if item["name"] == "run_cleanup"]
    if EAGER in targets:
        return Reply(call("transfer_to_billing", {}))
    if targets:  # it was told of two, and wants more
        return Reply(call("run_cleanup", {"target": EAGER, "older_than_days": 0}))
    return Reply(
        call("run_cleanup", {"target": "temp_files", "older_than_days": 0}),
        call("run_diagnostic", {"check_name": "thermal"}),
        call("run_cleanup", {"target": "winsxs_cache", "older_than_days": 0}),
    )


def _caretaker(request: RecordedRequest) -> Step:
    target = json.loads(request.first_user_text)["arguments"]["target"]
    if target in FILES:
        said = {"verdict": "leave", "reason": f"{target} is no folder of people's own files.", "confidence": 0.9}
    else:
        said = {"verdict": "reject", "reason": f"{target} may hold people's own files.", "confidence": 0.95}
    return Reply(text(json.dumps(said)))


def _billing(request: RecordedRequest) -> Step:
    outputs = _called(request)
    number = re.search(r"\d{1,9}", outputs["ask_requester"])
    if number is None:
        return _report(request, "The refund: it is not known for which order.")
    if "look_up_order" not in outputs:
        return Reply(call("look_up_order", {"order": int(number[0])}))
    order = _read(outputs["look_up_order"])
    if not order:
        return _report(request, f"The refund: {outputs['look_up_order']}")
    refund = {"order": order["order"], "amount": order["paid"]}
    if "auditor" not in outputs:
        return Reply(call("auditor", refund))
    if "refund" not in outputs and _read(outputs["auditor"]).get("sound"):
        return Reply(call("refund", refund))
    return _report(request)


def _auditor(request: RecordedRequest) -> Step:
    outputs = _called(request)
    asked = re.search(r"([\d.]+) euros for order (\d+)", request.first_user_text)
    assert asked is not None
    if not outputs:
        order = {"order": int(asked[2])}
        return Reply(call("look_up_order", order), call("read_ledger", order))
    paid, earlier = _read(outputs["look_up_order"]).get("paid", 0), outputs["read_ledger"]
    sound = float(asked[1]) <= paid and earlier == "[]"
    reason = f"{paid:.2f} was paid, and the ledger has {'no refund' if earlier == '[]' else earlier}."
    return Reply(text(json.dumps({"sound": sound, "reason": reason})))


def _follow_up(request: RecordedRequest) -> Step:
    outputs = _called(request)
    if not outputs:
        return Reply(call("run_diagnostic", {"check_name": "disk"}))
    targets = _read(outputs["run_diagnostic"]).get("targets")
    if targets is None:
        return Reply(text(f"The disk could not be checked: {outputs['run_diagnostic']}"))
    held = ", ".join(f"{name} holds {size['files']} files ({size['bytes']} bytes)" for name, size in targets.items())
    return Reply(text(f"Checked again after the work: {held}."))


_PARTS: Final[Mapping[object, Callable[[RecordedRequest], Step]]] = {
    triage.instructions: _triage,
    it_support.instructions: _it_support,
    billing.instructions: _billing,
    auditor.instructions: _auditor,
    follow_up.instructions: _follow_up,
}
_REPORTED: Final = frozenset({"run_cleanup", "run_diagnostic", "look_up_order", "auditor", "refund"})


def _report(request: RecordedRequest, *further: str) -> Step:
    """End the ticket: what each call gave, and apart from it those that did not run."""
    outputs = request.tool_outputs
    said = [
        (
            f"{item['name']}({', '.join(map(str, json.loads(item['arguments']).values()))})",
            " ".join(outputs[item["call_id"]].split()),
        )
        for item in request.items
        if item.get("type") == "function_call" and item["name"] in _REPORTED
    ]
    done = [f"- {made}: {output}" for made, output in said if _DONE.search(output)]
    undone = [f"{made}: {output}" for made, output in said if not _DONE.search(output)]
    report = "\n".join(["This is what became of your ticket:", *done])
    return Reply(text(json.dumps({"report": report, "left_open": [*undone, *further]})))


_DONE: Final = re.compile(r"\{.*\}|It ran before", re.DOTALL)
"""Outputs of calls that ran: the result of a tool, or a person's word about an interrupted one."""


def _called(request: RecordedRequest) -> dict[str, str]:
    """Return the last output of each tool, by name."""
    outputs = request.tool_outputs
    return {item["name"]: outputs[item["call_id"]] for item in _calls(request)}


def _calls(request: RecordedRequest) -> list[Mapping[str, Any]]:
    return [item for item in request.items if item.get("type") == "function_call"]


def _read(output: str) -> dict[str, Any]:
    try:
        read = json.loads(output)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
