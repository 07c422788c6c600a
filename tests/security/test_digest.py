"""Fault rows XK2 and XK3: a digest is the same everywhere, and another one where anything that it covers is another."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from handfast import Agent, Approval, tool
from handfast.payloads.binding import Binding, Bound, digest_of
from handfast.payloads.json_profile import parse_json
from handfast.testing import Reply, call
from support.desk import DONE
from support.labs import Effects, MakeLab

HERE: Final = Path(__file__).parent
GOLDEN: Final[list[dict[str, Any]]] = json.loads((HERE / "digests.json").read_text())


def in_javascript(requests: str) -> list[str]:
    """The digests as another language computes them; *requests* is JSON text, as it came over the wire."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here: what the page shows in JavaScript is not run")
    told = subprocess.run(
        [node, HERE / "digest.mjs"], input=requests, capture_output=True, text=True, check=True, timeout=60
    )
    digests: list[str] = json.loads(told.stdout)
    return digests


def test_golden_digests_in_python() -> None:
    """XK2: for key order, Unicode with surrogate pairs, numbers and depth the digests are those that were written down
    once."""
    for vector in GOLDEN:
        request, arguments = vector["request"], vector["arguments"]
        binding = Binding(
            **request["bound"],
            request=request["id"],
            agent_path=request["agent_path"],
            tool=request.get("tool"),
            call=request.get("call_id"),
        )
        given = None if arguments is None else parse_json(arguments)
        assert given is None or isinstance(given, dict)
        assert digest_of(binding, given) == vector["digest"], vector["name"]


def test_golden_digests_in_javascript() -> None:
    """XK2: a script of twenty lines in another language computes the same digests, reading the JSON by itself."""
    texts = [
        json.dumps(each["request"])[:-1]
        + ("" if each["arguments"] is None else f', "arguments": {each["arguments"]}')
        + "}"
        for each in GOLDEN
    ]
    digests = in_javascript(f"[{','.join(texts)}]")
    assert {each["name"]: digest for each, digest in zip(GOLDEN, digests, strict=True)} == {
        each["name"]: each["digest"] for each in GOLDEN
    }


def test_the_documentation_shows_that_script() -> None:
    """XK2: what docs/wire.md shows for other languages is the script that these tests run."""
    page = (HERE.parents[1] / "docs" / "wire.md").read_text()
    [shown] = [part.partition("```")[0] for part in page.split("```js\n")[1:] if "function canonical" in part]
    assert shown.strip() in (HERE / "digest.mjs").read_text()


async def test_an_approver_can_check_what_a_request_shows(make_lab: MakeLab, effects: Effects) -> None:
    """XK2: from what the list of pending requests says, an approver's own client computes the digest, in any
    language."""

    @tool(approval=Approval(deadline=timedelta(hours=1), reason="for good"))
    async def wipe(target: str, weight: float) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    lab = await make_lab(
        [Agent("desk", model="m", tools=[wipe])],
        script=[Reply(call("wipe", {"target": "ö😀", "weight": 1e21}, "c1")), DONE],
    )
    run = await lab.start("desk")
    request = await lab.next_request(run)
    binding = request.binding
    assert digest_of(binding, request.arguments) == request.digest
    wire = await lab.client.get_workflow_handle(run.id).query("pending_approvals")
    assert wire[0]["deadline"] == binding.deadline
    assert in_javascript(json.dumps(wire)) == [request.digest]
    await run.approve(request, decided_by="lead")
    await run.result()
    assert effects == ["ö😀"]


BOUND: Final = Bound(
    namespace="default",
    workflow="ticket-7",
    run="01a2",
    schema_digest="v1:a",
    policy_digest="v1:b",
    deadline="2026-03-04T09:30:00Z",
)
BINDING: Final = Binding(**BOUND.model_dump(), request="8d1e", agent_path=["triage", "desk"], tool="refund", call="c1")
CHANGES: Final[list[tuple[str, Any]]] = [
    ("tool", "refunds"),
    ("tool", None),
    ("schema_digest", "v1:b"),
    ("schema_digest", None),
    ("agent_path", ["triage", "billing"]),
    ("agent_path", ["triagedesk"]),
    ("namespace", "other-tenant"),
    ("policy_digest", "v1:a"),
    ("policy_digest", None),
    ("call", "c2"),
    ("workflow", "ticket-8"),
    ("run", "01a3"),
    ("request", "8d1f"),
    ("deadline", "2026-03-04T09:30:01Z"),
    ("deadline", None),
]


def test_another_value_of_any_field_is_another_digest() -> None:
    """XK3: tool, schema, arguments, agent, tenant, policy, call, workflow, run, request or deadline changed alone give
    another digest, each a different one."""
    changed = [BINDING.model_copy(update={field: value}) for field, value in CHANGES]
    digests = [digest_of(each, {"order": 7}) for each in (BINDING, *changed)]
    digests += [digest_of(BINDING, arguments) for arguments in (None, {}, {"order": 8}, {"order": "7"}, {"Order": 7})]
    digests.append(digest_of(BINDING, {"order": 7, "more": None}))
    assert len(set(digests)) == len(digests)
    assert {field for field, _ in CHANGES} == set(Binding.model_fields)


def test_arguments_cannot_pose_as_a_field() -> None:
    """XK3: arguments with the names of the fields change none of them."""
    plain = digest_of(BINDING, {})
    assert digest_of(BINDING, {"tool": "wipe", "request": "8d1f"}) != plain
    assert digest_of(BINDING.model_copy(update={"tool": "wipe"}), {}) != digest_of(BINDING, {"tool": "wipe"})
