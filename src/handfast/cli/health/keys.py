"""Compare the keys that are configured here with those that runs are encrypted and decided with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from handfast.cli.health.findings import Finding
from handfast.client.client import Handfast
from handfast.client.lists import of_agents
from handfast.encryption.codec import keyring_of
from handfast.encryption.converter import ENCRYPTED, KEY
from handfast.encryption.keyring import VARIABLE, Keyring
from handfast.errors import DefinitionError, KeysUnavailableError
from handfast.signing.key_files import trusted_keys_at
from handfast.temporal.rpc import typed_errors
from handfast.temporal.search_attributes import about_attributes

Facts: TypeAlias = Mapping[str, object]

RUNS_LOOKED_AT: Final = 200
"""The newest runs that go on say which keys are in use."""
FIRST_EVENTS_LOOKED_AT: Final = 20
"""Runs that have asked nobody anything yet have no memo: looking into one costs a call."""
NO_KEY: Final = ""
"""Stands for what is not encrypted."""


async def look_at_encryption(hf: Handfast) -> list[Finding]:
    """Compare the keys of the runs that go on with the key ring of this client."""
    with typed_errors(hf.client):
        using = await _keys_in_use(hf)
    ring = keyring_of(hf.client)
    if ring is None and not using.keys() - {NO_KEY}:
        return []
    facts: Facts = {"here": ring.ids if ring else [], "runs": {key or "none": runs for key, runs in using.items()}}
    wrong = [*_missing(ring, using, facts), *_refused(ring, using, facts)]
    if wrong or ring is None:
        return wrong
    said = f"what goes on can be read here; the key {ring.current!r} writes"
    if ring.accept_plaintext and not using[NO_KEY]:
        remedy = "no run that goes on needs accept_plaintext any more: take it out of the key file"
        return [Finding("encryption", "note", f"{said}, and what nobody encrypted is read too", remedy, facts)]
    return [Finding("encryption", "ok", said, facts=facts)]


async def look_at_signing(hf: Handfast) -> list[Finding]:
    """Look for the signing key of this client among the trusted keys, where both are configured here."""
    try:
        trusted = trusted_keys_at(None)
        keys = {} if trusted is None else trusted.keys
    except (DefinitionError, KeysUnavailableError) as error:
        remedy = "mend the file that HANDFAST_TRUSTED_KEYS names: a worker without it lets no decision count"
        return [Finding("signing", "wrong", str(error), remedy)]
    signer = hf.stores.signer
    if trusted is None:
        return [] if signer is None else [Finding("signing", "ok", f"decisions from here are signed with {signer.kid}")]
    facts = {"trusted": {kid: key.state for kid, key in keys.items()}, "signer": signer and signer.kid}
    active = sorted(kid for kid, key in keys.items() if key.state == "active" and not key.is_of_reviewers)
    if not active:
        remedy = "`handfast keys trust FILE --key KEY --for NAME`"
        return [Finding("signing", "wrong", "no trusted key is active: no person can decide anything", remedy, facts)]
    if signer is None:
        said = f"{len(active)} keys are trusted, and this client signs nothing: it can look, and not decide"
        return [Finding("signing", "note", said, "name a key in HANDFAST_SIGNING_KEY (`handfast keys new`)", facts)]
    if signer.kid not in active:
        known = keys.get(signer.kid)
        state = "not trusted" if known is None else "a reviewer's" if known.is_of_reviewers else "kept to verify alone"
        remedy = f"`handfast keys trust FILE --public {signer.public} --for NAME`, or sign with {' or '.join(active)}"
        said = f"decisions from here are signed with {signer.kid}, which is {state}: they are refused"
        return [Finding("signing", "wrong", said, remedy, facts)]
    return [
        Finding("signing", "ok", f"decisions from here are signed with {signer.kid}, which is trusted", facts=facts)
    ]


def _missing(ring: Keyring | None, using: Counter[str], facts: Facts) -> Iterator[Finding]:
    for key in sorted(using.keys() - {NO_KEY} - set(ring.ids if ring else ())):
        where = "this key ring has not" if ring else "this client has not: it has no keys at all"
        said = f"{using[key]} runs that go on are encrypted with the key {key!r}, which {where}"
        remedy = (
            f"give it the workers' key file: {VARIABLE} names it; until then these runs can be neither read nor decided"
        )
        yield Finding("encryption", "wrong", said, remedy, facts)


def _refused(ring: Keyring | None, using: Counter[str], facts: Facts) -> Iterator[Finding]:
    if ring is not None and using[NO_KEY] and not ring.accept_plaintext:
        said = f"{using[NO_KEY]} runs that go on are not encrypted, and this key ring reads nothing that is not"
        remedy = 'put "accept_plaintext": true into the key file, here and for the workers, until they have ended'
        yield Finding("encryption", "wrong", said, remedy, facts)


async def _keys_in_use(hf: Handfast) -> Counter[str]:
    """Count the runs that go on by the keys that they are encrypted with."""
    using: Counter[str] = Counter()
    looked_into = 0
    try:
        query = f"{of_agents()} AND ExecutionStatus = 'Running'"
        async for run in hf.client.list_workflows(query, limit=RUNS_LOOKED_AT):
            found = _keys_of(run.raw_info.memo.fields.values())
            if not found and looked_into < FIRST_EVENTS_LOOKED_AT:
                looked_into += 1
                found = await _keys_of_start(hf, run)
            using.update(found)
    except RPCError as error:
        if not about_attributes(error):
            raise
    return using


async def _keys_of_start(hf: Handfast, run: WorkflowExecution) -> set[str]:
    try:
        handle = hf.client.get_workflow_handle(run.id, run_id=run.run_id)
        first = await anext(aiter(handle.fetch_history_events(page_size=1)))
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return set()  # it ended and is gone
    return _keys_of(first.workflow_execution_started_event_attributes.input.payloads)


def _keys_of(payloads: Iterable[Payload]) -> set[str]:
    return {
        each.metadata[KEY].decode(errors="replace") if each.metadata.get("encoding") == ENCRYPTED else NO_KEY
        for each in payloads
    }
