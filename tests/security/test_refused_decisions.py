"""In production mode each decision that does not count is a line in the worker's log, and counted."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig

from handfast import Approval, Approve, Signer
from handfast.server import EmbeddedServer
from support.evidence import logged
from support.labs import Effects, MakeLab
from support.signed_desk import DONE, GATEWAY, PAY, desk, refusal
from support.signing import ring, send, signed


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings about refused decisions."""
    told = [record for record in caplog.records if record.name == "handfast.activities.evaluate.refused"]
    assert {record.levelno for record in told} <= {logging.WARNING}
    return [record.getMessage() for record in told]


async def test_each_refused_decision_is_one_warning(
    make_lab: MakeLab, effects: Effects, caplog: pytest.LogCaptureFixture
) -> None:
    """Forged, replayed and foreign decisions by update leave the history as it was; the worker's log has run,
    request, key, claimed name and class of each, and none of the texts that came with them can begin a line."""
    lab = await make_lab([desk(effects)], script=[PAY, PAY, DONE, DONE], trusted_keys=ring(GATEWAY), signer=GATEWAY)
    run, other = await lab.start("desk"), await lab.start("desk")
    request, elsewhere = await lab.next_request(run), await lab.next_request(other)
    good = await signed(lab, run, GATEWAY, request, Approve(), by="ana", decision_id="d-1")
    abroad = await signed(lab, other, GATEWAY, elsewhere, Approve(), by="ana")
    stranger = Signer.generate()
    forged = await signed(lab, run, stranger, request, Approve(), by="eve\nWARNING all is well")
    attacks: list[tuple[Any, str, str]] = [
        (good.model_copy(update={"signature": None}), "DecisionUnsignedError", "none"),
        (forged, "SigningKeyUnknownError", f'"{stranger.kid}"'),
        (good.model_copy(update={"decision_id": "d-2"}), "SignatureInvalidError", f'"{GATEWAY.kid}"'),
        (abroad, "UnknownRequestError", f'"{GATEWAY.kid}"'),
        (abroad.model_copy(update={"id": request.id}), "StaleDigestError", f'"{GATEWAY.kid}"'),
        ({**good.to_wire(), "verdict": {"kind": "yes"}}, "DecisionInvalidError", f'"{GATEWAY.kid}"'),
        ({"id": "nonsense"}, "DecisionInvalidError", "none"),
    ]
    before = (await lab.client.get_workflow_handle(run.id).describe()).history_length
    with caplog.at_level(logging.WARNING, logger="handfast"):
        for number, (attack, kind, key) in enumerate(attacks, 1):
            assert (await refusal(send(lab, run, attack)))[0] == kind
            line = lines(caplog)[-1]
            assert len(lines(caplog)) == number
            assert f'({kind}): run "{run.id}"' in line
            assert f"key {key}, " in line
            assert line.endswith(f"by update; {number} so far")
            assert "\n" not in line
        assert (await lab.client.get_workflow_handle(run.id).describe()).history_length == before
        assert (await send(lab, run, good))["signed_by"]["kid"] == GATEWAY.kid
        assert (await run.result()).output == "done"
        assert len(lines(caplog)) == len(attacks)
    assert f'request "{request.id}"' in lines(caplog)[0]
    assert 'claimed name "ana"' in lines(caplog)[0]
    assert 'claimed name "eve\\nWARNING all is well"' in lines(caplog)[1]
    assert 'request "nonsense"' in lines(caplog)[-1]
    await other.reject(elsewhere, decided_by="ana")
    await other.result()


async def test_a_refused_signal_is_told_once_though_its_run_is_replayed(
    make_lab: MakeLab, effects: Effects, caplog: pytest.LogCaptureFixture
) -> None:
    """A signal leaves its line too, and none again when another worker takes the run over."""
    lab = await make_lab(
        [desk(effects, Approval(deadline=timedelta(days=1)))],
        script=[PAY, DONE],
        trusted_keys=ring(GATEWAY),
        signer=GATEWAY,
        max_cached_workflows=0,
    )
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with caplog.at_level(logging.WARNING, logger="handfast"):
        await lab.client.get_workflow_handle(run.id).signal("approve", {"id": request.id, "decided_by": "eve"})
        await logged(lab, run, "refused", 1)
        await lab.replace_worker()
        await run.reject(request, decided_by="ana")
        await run.result()
    [line] = lines(caplog)
    assert f'request "{request.id}", key none, claimed name "eve", by signal' in line
    assert effects == []


async def test_without_trusted_keys_nothing_is_told(
    make_lab: MakeLab, effects: Effects, caplog: pytest.LogCaptureFixture
) -> None:
    """Names are claims there, and a late click is no attempt at anything."""
    lab = await make_lab([desk(effects)], script=[PAY, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with caplog.at_level(logging.WARNING, logger="handfast"):
        await refusal(send(lab, run, {"id": "nobody", "verdict": {"kind": "approve"}, "decided_by": "eve"}))
    assert lines(caplog) == []
    await run.reject(request, decided_by="ana")
    await run.result()


async def test_refused_decisions_are_counted_for_temporals_exporters(
    make_lab: MakeLab, effects: Effects, server: EmbeddedServer
) -> None:
    """A metric of the worker's SDK has them by class."""
    buffer = MetricBuffer(10_000)
    runtime = Runtime(telemetry=TelemetryConfig(metrics=buffer))
    client = await Client.connect(server.address, runtime=runtime)
    lab = await make_lab([desk(effects)], script=[PAY, DONE], client=client, trusted_keys=ring(GATEWAY), signer=GATEWAY)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    for _ in range(3):
        await refusal(send(lab, run, {"id": request.id, "verdict": {"kind": "approve"}, "decided_by": "eve"}))
    counted = [each for each in buffer.retrieve_updates() if each.metric.name == "handfast_refused_decisions"]
    assert [(each.value, each.attributes["class"]) for each in counted] == [(1, "DecisionUnsignedError")] * 3
    await run.reject(request, decided_by="ana")
    await run.result()
