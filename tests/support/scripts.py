"""What the model says while a page of the documentation is run, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from handfast.testing import Reply, Script, call, text
from handfast.testing.script import Usage


def _refund(order: int, amount: float) -> Reply:
    return Reply(call("refund", {"order": order, "amount": amount}))


def _shell(command: str) -> Reply:
    return Reply(call("shell", {"command": command}))


SCRIPTS: Final[Mapping[str, Script]] = {
    "assessor": Script(
        [
            Reply(text('{"order": 7, "risk": "low", "reasons": []}')),
            Reply(text('{"order": 7, "risk": 0.1, "reasons": ["a known customer"]}')),
        ]
    ),
    "clerk": Script([Reply(call("stock", {"article": "lamp"})), Reply(text("There are twelve."))]),
    "keeper": Script(
        [
            Reply(call("shelf", {"name": "a"})),
            Reply(call("shelf", {"name": "b"}), usage=Usage(210_000, 50)),
            Reply(text("Shelf a: forty volumes. Shelf b is being listed.")),
            Reply(text("Eighty volumes.")),
        ]
    ),
    "nurse": Script.per_conversation(
        {"knee": [Reply(text("Rest it for a week."))], "stocks": [Reply(text("I am not allowed to say."))]}
    ),
    "tester": Script(
        [
            _shell("pytest tests/unit"),
            _shell("pytest tests/spec -x"),
            _shell("pytest; rm x"),
            Reply(text("All passed.")),
        ]
    ),
    "shop": Script.per_conversation(
        {
            "order 7": [
                Reply(call("look_up_order", {"order": 7})),
                _refund(7, 250),
                Reply(text("Order 7 was refunded.")),
            ],
            "order 8": [_refund(8, 300), Reply(text("I offered a voucher for order 8."))],
            "order 9": [_refund(9, 400), Reply(text("Order 9 was refunded."))],
            "order 10": [_refund(10, 500), Reply(text("Order 10 was refunded."))],
            "order 11": [_refund(11, 60), Reply(text("Order 11 was refunded."))],
            "order 12": [_refund(12, 250), Reply(text("Order 12 was refunded."))],
        }
    ),
}
