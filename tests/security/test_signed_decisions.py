"""Row XK1 and its neighbours: only a decision counts that the right key has signed for this very request, now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from handfast import Answer, Approval, Approve, Reject, Signer, TrustedKeys
from handfast.errors import StaleDigestError
from support.evidence import failed_tasks
from support.labs import Effects, MakeLab
from support.signed_desk import DONE, GATEWAY, PAY, desk, refusal
from support.signing import ring, send, signed, trusted


async def test_an_attack_on_a_signed_decision_is_refused(make_lab: MakeLab, effects: Effects) -> None:
    """XK1: unsigned, tampered, for another request, run or namespace, by a stranger's key or a person's who asked."""
    keys = TrustedKeys({GATEWAY.kid: trusted(GATEWAY)})
    lab = await make_lab(
        [desk(effects, Approval(exclude_requester=True))],
        script=[PAY, PAY, DONE, DONE],
        trusted_keys=keys,
        signer=GATEWAY,
    )
    run = await lab.start("desk", requested_by="rita")
    other = await lab.start("desk", requested_by="rita")
    request, elsewhere = await lab.next_request(run), await lab.next_request(other)
    before = (await lab.client.get_workflow_handle(run.id).describe()).history_length
    good = await signed(lab, run, GATEWAY, request, Approve(), by="ana", decision_id="d-1")
    assert good.signature is not None
    stranger = Signer.generate(key_id=GATEWAY.kid)

    def changed(**update: Any) -> Any:
        return good.model_copy(update=update)

    unknown = await signed(lab, run, Signer.generate(), request, Approve())
    forged = await signed(lab, run, stranger, request, Approve(), by="ana")
    selfish = await signed(lab, run, GATEWAY, request, Approve(), by="rita")
    abroad = await signed(lab, other, GATEWAY, request, Approve(), by="ana")
    swapped = await signed(lab, run, GATEWAY, elsewhere, Approve(), by="ana")
    for attack, expected in (
        (changed(signature=None), "DecisionUnsignedError"),
        (changed(verdict=Approve(arguments={"amount": 9999})), "SignatureInvalidError"),
        (changed(verdict=Reject(reason="no")), "SignatureInvalidError"),
        (changed(decided_by="lea"), "SignatureInvalidError"),
        (changed(note="urgent"), "SignatureInvalidError"),
        (changed(decision_id="d-2"), "SignatureInvalidError"),
        (changed(digest=None), "SignatureInvalidError"),
        (changed(signature=good.signature.model_copy(update={"method": "cli"})), "SignatureInvalidError"),
        (changed(signature=good.signature.model_copy(update={"at": "2026-01-01T00:00:00Z"})), "SignatureInvalidError"),
        (abroad, "SignatureInvalidError"),
        (swapped, "UnknownRequestError"),
        (swapped.model_copy(update={"id": request.id}), "StaleDigestError"),
        (swapped.model_copy(update={"id": request.id, "digest": request.digest}), "SignatureInvalidError"),
        (forged, "SignatureInvalidError"),
        (unknown, "SigningKeyUnknownError"),
        (selfish, "RequesterExcludedError"),
        ({**good.to_wire(), "signature": "yes"}, "DecisionInvalidError"),
        ({**good.to_wire(), "signature": {**good.signature.to_wire(), "value": "AAAA"}}, "DecisionInvalidError"),
        ({**good.to_wire(), "signature": {**good.signature.to_wire(), "at": 7}}, "DecisionInvalidError"),
        ({**good.to_wire(), "verdict": {"kind": "yes"}}, "DecisionInvalidError"),
    ):
        kind, _ = await refusal(send(lab, run, attack))
        assert kind == expected, attack
    assert (await lab.client.get_workflow_handle(run.id).describe()).history_length == before
    assert effects == []

    receipt = await send(lab, run, good)
    assert receipt["signed_by"] == {"kid": GATEWAY.kid, "method": "gateway"}
    again = await send(lab, run, good)
    assert (again["duplicate"], again["at"]) == (True, receipt["at"])
    assert (await run.result()).output == "done"
    assert effects == ["paid 250"]
    await other.reject(elsewhere, decided_by="ana")
    await other.result()
    assert effects == ["paid 250"]
    assert await failed_tasks(lab, run) == 0


@pytest.mark.quick
async def test_who_decides_is_who_the_key_signs_for(make_lab: MakeLab, effects: Effects) -> None:
    """XH5: a person's own key decides for that person alone; another name, and Temporal's identity, change nothing."""
    ana = Signer.generate(method="cli")
    keys = TrustedKeys({ana.kid: trusted(ana, ["Ana"])})
    lab = await make_lab([desk(effects)], script=[PAY, DONE], trusted_keys=keys)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    kind, facts = await refusal(send(lab, run, await signed(lab, run, ana, request, Approve(), by="lea")))
    assert (kind, facts["decided_by"], facts["kid"]) == ("SignerNotAllowedError", "lea", ana.kid)
    receipt = await send(lab, run, await signed(lab, run, ana, request, Answer(output="by hand"), by="ana"))
    assert (receipt["decided_by"], receipt["signed_by"]["kid"]) == ("ana", ana.kid)
    await run.result()
    assert effects == []


@pytest.mark.parametrize(
    "off",
    [
        pytest.param(timedelta(minutes=10), id="ten-minutes-ahead"),
        pytest.param(timedelta(minutes=-10), id="ten-minutes-behind"),
    ],
)
async def test_a_clock_that_is_wrong_decides_nothing(make_lab: MakeLab, effects: Effects, off: timedelta) -> None:
    """XE5: a decision signed ten minutes off is refused with both times, and one signed now is taken."""
    lab = await make_lab([desk(effects)], script=[PAY, DONE], trusted_keys=ring(GATEWAY), signer=GATEWAY)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    late = await signed(lab, run, GATEWAY, request, Approve(), by="ana", at=datetime.now(UTC) + off)
    kind, facts = await refusal(send(lab, run, late))
    assert (kind, facts["rule"]) == ("ClockSkewError", "clock_skew")
    assert late.signature is not None
    assert facts["signed_at"] == late.signature.at
    assert effects == []
    await run.approve(request, decided_by="ana")
    await run.result()
    assert effects == ["paid 250"]


async def test_nothing_is_signed_but_what_is_shown(make_lab: MakeLab, effects: Effects) -> None:
    """XK1: a client signs for no request whose digest is of other arguments, or of another run."""
    lab = await make_lab([desk(effects)], script=[PAY, PAY, DONE], trusted_keys=ring(GATEWAY), signer=GATEWAY)
    run, other = await lab.start("desk"), await lab.start("desk")
    request, elsewhere = await lab.next_request(run), await lab.next_request(other)
    for shown in (
        request.model_copy(update={"arguments": {"amount": 1}}),
        request.model_copy(update={"tool": "look"}),
        request.model_copy(update={"digest": elsewhere.digest}),
        request.model_copy(update={"bound": request.bound.model_copy(update={"workflow": other.id})}),
        elsewhere,
    ):
        with pytest.raises(StaleDigestError, match="not that of what is shown"):
            await run.approve(shown, decided_by="ana")
    assert effects == []
    await run.approve(request, decided_by="ana")
    await run.result()
    assert effects == ["paid 250"]
