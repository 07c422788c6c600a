"""Signing keys and files of trusted keys for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from handfast import Decision, Request, Run, Signer, TrustedKey, TrustedKeys
from handfast.payloads.requests import Verdict
from handfast.payloads.signed import About, Place
from handfast.testing import Lab


def trusted(
    signer: Signer, signs_for: Literal["*"] | list[str] = "*", state: Literal["active", "verify_only"] = "active"
) -> TrustedKey:
    """The public half of a key, as a worker has it."""
    return TrustedKey(public=signer.public, signs_for=signs_for, state=state)


def ring(*signers: Signer) -> TrustedKeys:
    """Trust gateways' keys."""
    return TrustedKeys({each.kid: trusted(each) for each in signers})


def write_ring(path: Path, keys: Mapping[str, TrustedKey]) -> Path:
    """Write a file of trusted keys, in one step, as an operator should."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"keys": {kid: key.model_dump() for kid, key in keys.items()}}))
    return fresh.replace(path)


async def place_of(lab: Lab, run: Run) -> Place:
    """Where decisions on a run belong."""
    described = await lab.client.get_workflow_handle(run.id).describe()
    first = described.raw_description.workflow_execution_info.first_run_id
    return Place(namespace=lab.client.namespace, workflow=run.id, run=first)


async def signed(
    lab: Lab,
    run: Run,
    signer: Signer,
    request: Request,
    verdict: Verdict,
    *,
    by: str = "ana",
    at: datetime | None = None,
    of: About | None = None,
    **more: Any,
) -> Decision:
    """A decision that is signed for one request of a run."""
    decision = Decision(id=request.id, verdict=verdict, decided_by=by, digest=request.digest, **more)
    return signer.sign(decision, await place_of(lab, run), of, at=at)


async def send(lab: Lab, run: Run, decision: Decision | Mapping[str, Any], prefix: str = "") -> Any:
    """Send a decision by update, as any Temporal client can."""
    wire = decision.to_wire() if isinstance(decision, Decision) else dict(decision)
    return await lab.client.get_workflow_handle(run.id).execute_update(f"{prefix}decide", wire)
