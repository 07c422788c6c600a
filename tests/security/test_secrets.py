"""Fault row XL4: a tool's secrets are references, resolved in the worker after the approval."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import SecretStr

from handfast import Agent, RunAgain, Secret, ToolContext, tool
from handfast.errors import DefinitionError
from handfast.testing import Reply, call, text
from support.clear import files_with
from support.evidence import events_of
from support.labs import Effects, MakeLab

VALUE = 'to"ken-äö-5up3r'
DONE = Reply(text("done"))


class Vault:
    """Resolves references, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.problem: Exception | None = None

    async def __call__(self, reference: str) -> str:
        """Look a value up."""
        self.asked.append(reference)
        if self.problem is not None:
            raise self.problem
        return VALUE


async def test_secrets_are_resolved_after_the_approval_and_seen_by_nobody(
    make_lab: MakeLab,
    effects: Effects,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """XL4: before the approval nobody is asked for a secret; the model is not offered the parameter, the function gets
    its value, and where it says it, in a result, an error, its progress or the context, a marker stands."""
    monkeypatch.setenv("DESK_TOKEN", "env-token-77")
    (tmp_path / "pin").write_text("file-pin-88\n")
    caplog.set_level(logging.DEBUG)

    @tool(approval=True)
    async def book(
        ctx: ToolContext[Any],
        target: str,
        key: Annotated[SecretStr, Secret("vault:desk/key")],
        token: Annotated[str, Secret("env:DESK_TOKEN")],
        pin: Annotated[SecretStr, Secret(f"file:{tmp_path}/pin")],
    ) -> dict[str, str]:
        """Book a target.

        Args:
            target: Which.
            key: Never shown.
        """
        effects.append(f"{target} {key.get_secret_value()} {token} {pin.get_secret_value()}")
        ctx.progress(f"with {token}")
        return {"target": target, "echo": f"<{key.get_secret_value()}>", token: pin.get_secret_value()}

    @tool(effect="read_only")
    def fail(token: Annotated[SecretStr, Secret("env:DESK_TOKEN")]) -> str:
        """Fail."""
        raise ValueError(f"401 for {token.get_secret_value()}")

    desk = Agent("desk", instructions="Help.", model="m", tools=[book, fail])
    script = [Reply(call("book", {"target": "t"}, "c1"), call("fail", {}, "c2")), DONE]
    vault = Vault()
    lab = await make_lab([desk], script=script, secrets=vault)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert request.arguments == {"target": "t"}
    assert vault.asked == []
    assert [sorted(each["parameters"]["properties"]) for each in lab.model.requests[0].body["tools"]] == [
        ["target"],
        [],
    ]
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert vault.asked == ["vault:desk/key"]
    assert effects == [f"t {VALUE} env-token-77 file-pin-88"]
    outputs = lab.model.requests[-1].tool_outputs
    assert json.loads(outputs["c1"]) == {"target": "t", "echo": "<[secret]>", "[secret]": "[secret]"}
    assert outputs["c2"] == "Error: ValueError: 401 for [secret]"
    seen = f"{await events_of(lab, run)}{[each.body for each in lab.model.requests]}{caplog.text}"
    for value in (VALUE, json.dumps(VALUE)[1:-1], "env-token-77", "file-pin-88"):
        assert value not in seen
    assert files_with("env-token-77", tmp_path) == []


async def test_a_secret_that_is_missing_stops_the_call_before_it_begins(
    make_lab: MakeLab, effects: Effects, caplog: pytest.LogCaptureFixture
) -> None:
    """XL4: without its secret a tool does not run: the model reads which one is missing, the operator too; a vault that
    is away is asked again, and what it says is not repeated."""

    @tool
    def one(token: Annotated[SecretStr, Secret("env:HANDFAST_TEST_NO_SUCH")]) -> str:
        """Need what is not there."""
        effects.append("one")
        return "ran"

    @tool
    def two(token: Annotated[SecretStr, Secret("vault:two")]) -> str:
        """Need what is not there either."""
        effects.append("two")
        return "ran"

    desk = Agent("desk", instructions="Help.", model="m", tools=[one, two])
    vault = Vault()
    vault.problem = KeyError("hush-hush")
    script = [Reply(call("one", {}, "c1"), call("two", {}, "c2")), DONE, Reply(call("two", {}, "c3")), DONE]
    lab = await make_lab([desk], script=script, secrets=vault)
    await (await lab.start("desk")).result()
    outputs = lab.model.requests[-1].tool_outputs
    assert "secret env:HANDFAST_TEST_NO_SUCH is missing" in outputs["c1"]
    assert "secret vault:two is missing" in outputs["c2"]
    assert effects == []
    vault.problem = ConnectionError("hush-hush")
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert (request.kind, request.facts and request.facts["ended"]) == ("in_doubt", "not_begun")
    vault.problem = None
    await run.decide(request.id, RunAgain(), decided_by="lead")
    await run.result()
    assert effects == ["two"]
    assert "hush-hush" not in f"{await events_of(lab, run)}{caplog.text}"


def test_what_cannot_be_a_secret_is_said_when_it_is_defined() -> None:
    """XL4: a secret is a text, and its reference has a scheme."""
    for wrong in ("TOKEN", "env:", "", " env:x"):
        with pytest.raises(DefinitionError, match="reference"):
            Secret(wrong)
    with pytest.raises(DefinitionError, match="must be a SecretStr or a str"):

        @tool
        def count(token: Annotated[int, Secret("env:TOKEN")]) -> int:
            """Count."""
            return token
