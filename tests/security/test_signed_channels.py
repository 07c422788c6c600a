"""Rows XH3 to XH7, XG7, XK1, XK4: whose decision counts, by every way in, and at the effect itself."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from handfast import (
    Agent,
    Approval,
    Approve,
    Decision,
    Handfast,
    Match,
    Request,
    Run,
    RunAgain,
    RunContext,
    Signer,
    TrustedKeys,
    tool,
)
from handfast.errors import (
    DecisionUnsignedError,
    DefinitionError,
    KeysUnavailableError,
    NotAnApproverError,
    SigningKeyRetiredError,
)
from handfast.payloads.events import RequestDecided
from handfast.payloads.signature import SignedBy
from handfast.server import EmbeddedServer
from handfast.testing import Reply, Script, call
from handfast.testing.script import RecordedRequest
from support.evidence import failed_tasks, logged
from support.labs import Effects, MakeLab
from support.long_office import Office
from support.long_runs import crossing
from support.neighbour import CONVERTER, Order, Shipping, notify
from support.signed_desk import DONE, GATEWAY, PAY, desk, refusal
from support.signing import ring, send, signed, trusted, write_ring


async def test_who_is_in_no_group_of_approvers_decides_nothing(make_lab: MakeLab, effects: Effects) -> None:
    """XH3: a gateway's signature says who it is, and not that this person may."""
    lab = await make_lab(
        [desk(effects, Approval(approvers=["group:finance"]))],
        script=[PAY, DONE],
        groups={"finance": ["ana"]},
        trusted_keys=ring(GATEWAY),
        signer=GATEWAY,
    )
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with pytest.raises(NotAnApproverError):
        await run.approve(request, decided_by="mallory")
    assert effects == []
    await run.approve(request, decided_by="ana")
    await run.result()
    assert effects == ["paid 250"]


async def test_an_approver_who_was_removed_decides_nothing(make_lab: MakeLab, effects: Effects) -> None:
    """XH4: who was in the group when the request opened, and no longer is, is refused, however good the signature."""
    members = ["ana"]

    async def groups_of(name: str) -> list[str]:
        return ["finance"] if name in members else []

    approval = Approval(approvers=["group:finance"])
    lab = await make_lab(
        [desk(effects, approval)], script=[PAY, DONE], groups=groups_of, trusted_keys=ring(GATEWAY), signer=GATEWAY
    )
    run = await lab.start("desk")
    request = await lab.next_request(run)
    decision = await signed(lab, run, GATEWAY, request, Approve())
    members[:] = ["lea"]
    kind, _ = await refusal(send(lab, run, decision))
    assert kind == "NotAnApproverError"
    assert effects == []
    await run.approve(request, decided_by="lea")
    await run.result()
    assert effects == ["paid 250"]


async def test_a_direct_client_without_a_key_decides_nothing(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XH6: signals and updates without a good signature are refused and logged; a signed signal counts."""
    lab = await make_lab([desk(effects)], script=[PAY, DONE], trusted_keys=ring(GATEWAY), max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    handle = lab.client.get_workflow_handle(run.id)
    good = await signed(lab, run, GATEWAY, request, Approve(), decision_id="d-1")
    plain = good.model_copy(update={"signature": None}).to_wire()
    other = good.model_copy(update={"verdict": Approve(arguments={"amount": 1})})
    stranger = await signed(lab, run, Signer.generate(), request, Approve(), decision_id="d-1", note="me")
    await handle.signal("approve", request.id)
    await handle.signal("approve", {"id": request.id, "decided_by": "ana"})
    await handle.signal("reject", request.id)
    await handle.signal("decide", plain)
    await handle.signal("decide", other.to_wire())
    await handle.signal("decide", stranger.to_wire())
    with pytest.raises(DecisionUnsignedError):
        await Handfast(lab.client, task_queue=lab.task_queue).run(run.id).approve(request, decided_by="ana")
    refused = await logged(lab, run, "refused", 6)
    why = sorted((step.why or "").partition(":")[0] for step in refused)
    assert why == [*["DecisionUnsignedError"] * 4, "SignatureInvalidError", "SigningKeyUnknownError"]
    assert all(step.signed_by is None for step in refused)
    assert [each.id for each in await run.pending()] == [request.id]
    assert effects == []

    await handle.signal("decide", good.to_wire())
    await handle.signal("decide", good.to_wire())
    assert (await run.result()).output == "done"
    assert effects == ["paid 250"]
    [decided] = await logged(lab, run, "decided", 1)
    assert (decided.by, decided.signed_by) == ("ana", good.signature and good.signature.signed_by)
    events = [event async for event in run.events()]
    [event] = [each for each in events if isinstance(each, RequestDecided)]
    assert event.signed_by == decided.signed_by
    assert await failed_tasks(lab, run) == 0


async def test_a_worker_cannot_sign(make_lab: MakeLab, effects: Effects, tmp_path: Path) -> None:
    """XH7: what a worker has is no key to sign with; one without keys refuses every decision of such a run."""
    path = write_ring(tmp_path / "trusted.json", {GATEWAY.kid: trusted(GATEWAY)})
    with pytest.raises(DefinitionError):
        Signer.from_file(path)
    lab = await make_lab([desk(effects)], script=[PAY, DONE], trusted_keys=path, signer=GATEWAY)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    lab._trusted_keys = None
    await lab.replace_worker()
    with pytest.raises(KeysUnavailableError, match="cannot verify"):
        await run.approve(request, decided_by="ana")
    plain = Decision(id=request.id, verdict=Approve(), decided_by="ana", digest=request.digest)
    assert (await refusal(send(lab, run, plain)))[0] == "DecisionUnsignedError"
    assert effects == []
    lab._trusted_keys = path
    await lab.replace_worker()
    await run.approve(request, decided_by="ana")
    await run.result()
    assert effects == ["paid 250"]


async def test_keys_are_rotated_under_runs_in_flight(make_lab: MakeLab, effects: Effects, tmp_path: Path) -> None:
    """XG7: what an old key approved runs while it is kept to verify, but it decides nothing new; once out, nothing."""
    old, new = Signer.generate(), Signer.generate()
    path = write_ring(tmp_path / "trusted.json", {old.kid: trusted(old)})
    lab = await make_lab(
        [desk(effects, Approval(quorum=2))], script=[PAY, PAY, DONE, DONE], trusted_keys=path, signer=new
    )
    run, later = await lab.start("desk"), await lab.start("desk")
    request, second = await lab.next_request(run), await lab.next_request(later)
    await send(lab, run, await signed(lab, run, old, request, Approve(), by="ana"))
    await send(lab, later, await signed(lab, later, old, second, Approve(), by="ana"))
    write_ring(path, {old.kid: trusted(old, state="verify_only"), new.kid: trusted(new)})
    retired = await refusal(send(lab, run, await signed(lab, run, old, request, Approve(), by="bob")))
    assert retired[0] == SigningKeyRetiredError.__name__
    await run.approve(request, decided_by="bob")
    assert (await run.result()).output == "done"
    assert effects == ["paid 250"]

    write_ring(path, {new.kid: trusted(new)})
    await later.approve(second, decided_by="bob")
    again = await asked_again(later, second)
    assert "1 of 2 approvals of it are proven" in (again.reason or "")
    assert effects == ["paid 250"]
    await later.approve(again, decided_by="ana")
    await later.approve(again, decided_by="bob")
    await later.result()
    assert effects == ["paid 250", "paid 250"]


async def test_keys_that_come_while_a_decision_is_looked_at_count_for_it(make_lab: MakeLab, effects: Effects) -> None:
    """XH6: a decision that a run took up before it took signed ones alone is verified before it is recorded."""
    asked, known = asyncio.Event(), asyncio.Event()

    async def groups_of(name: str) -> list[str]:
        if name == "ana":
            asked.set()
            await known.wait()
        return ["finance"]

    def choose(request: RecordedRequest) -> Reply:
        return PAY if request.turns == 0 else Reply(call("pay", {"amount": 7})) if request.turns == 1 else DONE

    lab = await make_lab(
        [desk(effects, Approval(approvers=["group:finance"]))],
        script=Script.of(choose),
        groups=groups_of,
        workflows=[Office],
        signer=GATEWAY,
    )
    own = await lab.client.start_workflow(Office.run, False, id=f"own-{lab.task_queue}", task_queue=lab.task_queue)
    run = lab.watch(lab.hf.run(own.id))
    first, second = await lab.open_requests(run, 2)
    lab._trusted_keys = ring(GATEWAY)
    await lab.replace_worker()
    stranger = await signed(lab, run, Signer.generate(), first, Approve())
    await own.signal("handfast.decide", stranger.to_wire())
    async with asyncio.timeout(30):
        await asked.wait()
    await run.reject(second, decided_by="lea")
    third = await asked_again(run, first, second)
    known.set()
    [refused] = await logged(lab, run, "refused", 1)
    assert (refused.why or "").startswith("SigningKeyUnknownError")
    assert {each.id for each in await run.pending()} == {first.id, third.id}
    assert effects == []


async def test_an_edit_that_is_asked_about_anew_keeps_its_rule(
    make_lab: MakeLab, effects: Effects, tmp_path: Path
) -> None:
    """XG7: where a key was retired under an edited call, those are asked again whom its rule named for the edit."""

    def rule(_: RunContext, arguments: Any) -> Approval:
        large = arguments.amount > 1000
        return Approval(approvers=["cfo", "ceo"], quorum=2) if large else Approval(on_edit="ask_again")

    old, new = Signer.generate(), Signer.generate()
    path = write_ring(tmp_path / "trusted.json", {old.kid: trusted(old), new.kid: trusted(new)})
    lab = await make_lab([desk(effects, rule)], script=[PAY, DONE], trusted_keys=path, signer=new)
    run = await lab.start("desk")
    first = await lab.next_request(run)
    await run.approve(first, arguments={"amount": 9999}, decided_by="ana")
    edited = await asked_again(run, first)
    await send(lab, run, await signed(lab, run, old, edited, Approve(), by="cfo"))
    write_ring(path, {new.kid: trusted(new)})
    await run.approve(edited, decided_by="ceo")
    async with asyncio.timeout(30):
        async for again in run.requests():
            if again.id not in (first.id, edited.id):
                break
    assert again.arguments == {"amount": 9999}
    assert (again.approvers, again.quorum, again.editors) == (["cfo", "ceo"], 2, ["ana"])
    await run.reject(again, decided_by="cfo")
    await run.result()
    assert effects == []


async def asked_again(run: Run, *before: Request) -> Request:
    """The request that opens after *before*."""
    async with asyncio.timeout(30):
        async for request in run.requests():
            if request.id not in {each.id for each in before}:
                return request
    raise AssertionError(f"{run.id} ended without asking again")


async def test_an_approval_from_before_keys_came_runs_nothing(make_lab: MakeLab, effects: Effects) -> None:
    """XK1: a run that began without keys takes a bare signal; a worker with keys does not run it, and asks again."""
    lab = await make_lab([desk(effects)], script=[PAY, DONE], signer=GATEWAY)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    lab._trusted_keys = ring(GATEWAY)
    await lab.replace_worker()
    assert (await refusal(send(lab, run, {"id": request.id, "verdict": {"kind": "approve"}, "decided_by": "x"})))[
        0
    ] == ("DecisionUnsignedError")
    await lab.client.get_workflow_handle(run.id).signal("approve", request.id)
    again = await asked_again(run, request)
    assert "0 of 1 approvals of it are proven" in (again.reason or "")
    assert (again.kind, again.arguments) == ("approval", {"amount": 250})
    assert effects == []
    await lab.client.get_workflow_handle(run.id).signal("approve", again.id)
    await logged(lab, run, "refused", 1)
    await run.approve(again, decided_by="ana")
    assert (await run.result()).output == "done"
    assert effects == ["paid 250"]


async def test_edited_arguments_are_those_that_were_signed(make_lab: MakeLab, effects: Effects) -> None:
    """XK1: an approval with other arguments runs exactly these, and is proven by them."""
    lab = await make_lab([desk(effects)], script=[PAY, DONE], trusted_keys=ring(GATEWAY), signer=GATEWAY)
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), arguments={"amount": 200}, decided_by="ana")
    assert (await run.result()).output == "done"
    assert effects == ["paid 200"]


async def test_a_standing_approval_is_proven_for_each_call(make_lab: MakeLab, effects: Effects) -> None:
    """XK4: a signed decision that is remembered lets later calls run in its scope alone, while its key is trusted: once
    it could not be verified it answers none any more, and the log says so."""

    @tool(approval=True)
    async def run(command: str) -> str:
        """Run a command."""
        effects.append(command)
        return "ok"

    def step(command: str) -> Reply:
        return Reply(call("run", {"command": command}))

    old, new = Signer.generate(), Signer.generate()
    keys = {old.kid: trusted(old)}
    trust = TrustedKeys(keys)
    script = [*map(step, ("pytest a", "pytest b", "make c", "pytest d", "pytest e")), DONE]
    lab = await make_lab([Agent("desk", model="m", tools=[run])], script=script, trusted_keys=trust, signer=old)
    going = await lab.start("desk")
    request = await lab.next_request(going)
    await going.approve(request, decided_by="ana", remember=Match(command="pytest *"))
    outside = await asked_again(going, request)
    assert outside.arguments == {"command": "make c"}
    assert effects == ["pytest a", "pytest b"]
    [remembered] = await logged(lab, going, "remembered", 1)
    assert (remembered.by, remembered.signed_by and remembered.signed_by.kid) == ("ana", old.kid)
    trust._keys = {new.kid: trusted(new)}
    signing = Handfast(lab.client, task_queue=lab.task_queue, signer=new).run(going.id)
    await signing.approve(outside, decided_by="ana")
    async with asyncio.timeout(30):
        async for last in going.requests():
            if last.id not in (request.id, outside.id):
                break
    assert "not trusted here" in (last.reason or "")
    assert effects == ["pytest a", "pytest b", "make c"]
    [voided] = await logged(lab, going, "voided", 1)
    assert (voided.request, voided.by) == (request.id, "ana")
    assert (voided.why or "").startswith("no longer remembered: ")
    await signing.approve(last, decided_by="ana")
    later = await asked_again(going, request, outside, last)
    assert (later.arguments, later.reason) == ({"command": "pytest e"}, None)
    assert effects[-1] == "pytest d"
    await signing.reject(later, decided_by="ana")
    await going.result()
    assert effects[-1] == "pytest d"


async def test_a_call_in_doubt_runs_again_by_a_signed_word_alone(make_lab: MakeLab, effects: Effects) -> None:
    """XK1: to run a call again whose outcome is unknown takes a signature too."""

    @tool(approval=True, timeout=timedelta(seconds=0.3))
    async def pay(amount: int) -> str:
        """Pay, and hang the first time."""
        effects.append(f"paid {amount}")
        if len(effects) == 1:
            await asyncio.Event().wait()
        return "paid"

    lab = await make_lab(
        [Agent("desk", model="m", tools=[pay])], script=[PAY, DONE], trusted_keys=ring(GATEWAY), signer=GATEWAY
    )
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await run.approve(request, decided_by="ana")
    doubt = await asked_again(run, request)
    assert doubt.kind == "in_doubt"
    unsigned = Handfast(lab.client, task_queue=lab.task_queue).run(run.id)
    with pytest.raises(DecisionUnsignedError):
        await unsigned.decide(doubt, RunAgain(), decided_by="ana")
    await run.decide(doubt, RunAgain(), decided_by="ana")
    assert (await run.result()).output == "done"
    assert effects == ["paid 250", "paid 250"]


async def test_a_sandboxed_workflow_of_ones_own_takes_signed_decisions_alone(
    make_lab: MakeLab, server: EmbeddedServer, effects: Effects
) -> None:
    """XH6: an `AgentHost` in a user's sandboxed workflow verifies updates and signals as a plain run does."""
    client = await Client.connect(server.address, data_converter=CONVERTER)
    lab = await make_lab(
        [desk(effects)],
        script=[Reply(*PAY.outputs, call("pay", {"amount": 90}, "c2")), DONE],
        client=client,
        workflows=[Shipping],
        activities=[notify],
        trusted_keys=ring(GATEWAY),
        signer=GATEWAY,
    )
    own = await lab.client.start_workflow(
        Shipping.run, Order(number=7, text="ship it"), id=f"own-{lab.task_queue}", task_queue=lab.task_queue
    )
    run = lab.watch(lab.hf.run(own.id))
    first, second = await lab.open_requests(run, 2)
    bare = {"id": first.id, "verdict": {"kind": "approve"}, "decided_by": "ana"}
    assert (await refusal(send(lab, run, bare, "handfast.")))[0] == "DecisionUnsignedError"
    await own.signal("handfast.approve", first.id)
    stranger = await signed(lab, run, Signer.generate(), first, Approve())
    assert (await refusal(send(lab, run, stranger, "handfast.")))[0] == "SigningKeyUnknownError"
    await own.signal("handfast.decide", stranger.to_wire())
    assert len(await logged(lab, run, "refused", 2)) == 2
    assert effects == []
    receipt = await run.approve(first, decided_by="ana")
    assert receipt.signed_by == SignedBy(kid=GATEWAY.kid, method="gateway")
    await own.signal("handfast.decide", (await signed(lab, run, GATEWAY, second, Approve())).to_wire())
    await own.signal(Shipping.approve, "the user's own approver")
    assert (await own.result()).answer == "done"
    assert sorted(effects) == ["paid 250", "paid 90"]
    assert await failed_tasks(lab, run) == 0


async def test_no_other_message_stands_in_for_a_signed_grant(make_lab: MakeLab, effects: Effects) -> None:
    """XH6: where a person is asked for more turns, only a signed grant gives them; a deadline's default does not."""
    by_itself = Approval(deadline=timedelta(seconds=1), on_deadline="approve")
    agent = desk(effects, by_itself, max_turns=1, on_limit="ask")
    lab = await make_lab([agent], script=[PAY, DONE], trusted_keys=ring(GATEWAY), signer=GATEWAY)
    run = await lab.start("desk")
    first = await lab.next_request(run)
    budget = await asked_again(run, first)
    assert budget.kind == "budget"
    assert effects == ["paid 250"]
    with pytest.raises(DecisionUnsignedError):
        await run.raise_limits(turns=1, by="ana")
    await run.grant(budget, turns=1, decided_by="ana")
    assert (await run.result()).output == "done"


async def test_a_run_from_before_keys_gets_no_turns_by_an_unsigned_word(make_lab: MakeLab, effects: Effects) -> None:
    """XH6: a budget request that opened before the workers had keys takes a signed grant alone, also where the run's
    limits are to be raised."""
    agent = desk(effects, False, max_turns=1, on_limit="ask")
    lab = await make_lab([agent], script=[PAY, DONE], signer=GATEWAY)
    run = await lab.start("desk")
    budget = await lab.next_request(run)
    lab._trusted_keys = ring(GATEWAY)
    await lab.replace_worker()
    with pytest.raises(DecisionUnsignedError):
        await run.raise_limits(turns=1, by="ana")
    assert [each.id for each in await run.pending()] == [budget.id]
    await run.grant(budget, turns=1, decided_by="ana")
    assert (await run.result()).output == "done"


async def test_a_run_stays_signed_in_a_fresh_history(make_lab: MakeLab, effects: Effects) -> None:
    """XH6: a run that goes on in a fresh history takes signed decisions alone, and keeps its proofs."""
    lab = await make_lab(
        [desk(effects, Approval(quorum=2))], script=[PAY, DONE], trusted_keys=ring(GATEWAY), signer=GATEWAY
    )
    run = await lab.start("desk", segment_events=40)
    request = await lab.next_request(run)
    await run.approve(request, decided_by="ana")
    await crossing(lab, run)
    bare = {"id": request.id, "verdict": {"kind": "approve"}, "decided_by": "bob", "decision_id": "bare"}
    await lab.client.get_workflow_handle(run.id).signal("decide", bare)
    async with asyncio.timeout(30):
        while (outcome := await run.decision("bare")).state == "unknown":
            pass  # each look is a round trip
    assert (outcome.state, outcome.error) == ("refused", "DecisionUnsignedError")
    [waiting] = await run.pending()
    assert [vote.signed_by and vote.signed_by.kid for vote in waiting.votes or ()] == [GATEWAY.kid]
    assert effects == []
    await run.approve(waiting, decided_by="bob")
    assert (await run.result()).output == "done"
    assert effects == ["paid 250"]
