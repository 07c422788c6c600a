"""Makes items that go back to a model valid, whatever it has said before.

Inside a run, each call has an id of at most 64 characters. Where a server's own id is none (some carry signatures of
several KB in them, which they want back), the run has one of its own, and the item keeps the server's in
`PROVIDER_IDS`: it goes back to the model entry that it came from, and to no other. Names and arguments that the API
would refuse stay in the run as the model wrote them, and are mended in each request.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from handfast.payloads.call_items import CUSTOM_CALL, FUNCTION_CALL, ID_FIELD, PROVIDER_FIELDS, PROVIDER_IDS
from handfast.payloads.json_profile import JsonObject

LONGEST_NAME: Final = 64
UNNAMED: Final = "unnamed"
MALFORMED: Final = "malformed_arguments"
"""The one argument of a call whose arguments are no JSON object: what the model wrote, so that it can mend it."""

_FIT_ID: Final = re.compile(r"[!-~]{1,64}")
_NOT_IN_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
_ID_PREFIX: Final[Mapping[str, str]] = {"call_id": "call", "id": "mcpr"}


def own_id(theirs: str, prefix: str = "call") -> str:
    """The id of a call inside a run: the server's, or one that follows from it where that is too long or no text."""
    return theirs if _FIT_ID.fullmatch(theirs) else f"{prefix}_{hashlib.sha256(theirs.encode()).hexdigest()[:32]}"


def with_own_ids(item: JsonObject, client: str) -> JsonObject:
    """Give an item of a reply ids that a run can carry.

    Args:
        item: As the server wrote it.
        client: The model entry that it came from.
    """
    if isinstance(fields := item.get(PROVIDER_FIELDS), dict):
        item = {**item, PROVIDER_FIELDS: {**fields, "client": client}}
    call_field = ID_FIELD.get(str(item.get("type")), "")
    named = {name: item[name] for name in ("id", call_field) if isinstance(item.get(name), str)}
    theirs = {name: value for name, value in named.items() if value and not _FIT_ID.fullmatch(value)}
    if not theirs:
        return item
    own = {name: value for name, value in item.items() if name not in theirs}
    if call_field in theirs:
        own[call_field] = own_id(theirs[call_field], _ID_PREFIX[call_field])
    return {**own, PROVIDER_IDS: {"client": client, **theirs}}


def wire_items(items: Sequence[JsonObject], client: str) -> list[JsonObject]:
    """Return *items* as a request carries them.

    Args:
        items: As the run has them.
        client: The model entry that is asked.
    """
    return [_wired(item, client) for item in items]


def _wired(item: JsonObject, client: str) -> JsonObject:
    fields = item.get(PROVIDER_FIELDS)
    if fields is not None:
        item = {name: value for name, value in item.items() if name != PROVIDER_FIELDS}
        if isinstance(fields, dict) and fields.get("client") == client:
            item[PROVIDER_FIELDS] = {name: value for name, value in fields.items() if name != "client"}
    ids = item.get(PROVIDER_IDS)
    if ids is not None:
        item = {name: value for name, value in item.items() if name != PROVIDER_IDS}
        if isinstance(ids, dict) and ids.get("client") == client:
            item |= {name: value for name, value in ids.items() if name != "client"}
    if item.get("type") in (FUNCTION_CALL, CUSTOM_CALL):
        name = _valid_name(item.get("name"))
        if name != item.get("name"):
            item = {**item, "name": name}
    if item.get("type") == FUNCTION_CALL and not _is_object(item.get("arguments")):
        item = {**item, "arguments": _wrapped(item.get("arguments"))}
    return item


def _valid_name(name: object) -> str:
    return _NOT_IN_A_NAME.sub("_", str(name or ""))[:LONGEST_NAME] or UNNAMED


def _is_object(text: object) -> bool:
    if not isinstance(text, str):
        return False
    try:
        return isinstance(json.loads(text, parse_constant=_refuse_constant), dict)
    except (ValueError, RecursionError):
        return False


def _wrapped(text: object) -> str:
    if text is None or (isinstance(text, str) and (not text.strip() or text.strip() == "null")):
        return "{}"
    return json.dumps({MALFORMED: text})


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
