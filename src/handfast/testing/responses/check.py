"""The strict reading of one request: from bytes to a checked body and its effective input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Never

from handfast.testing.record import Json
from handfast.testing.responses.compaction import check_compact_params
from handfast.testing.responses.conversation import Store
from handfast.testing.responses.params import check_params
from handfast.testing.responses.refusal import NO_KEY, NOT_JSON, ApiRefusal, missing


def check_key(headers: Mapping[str, str]) -> None:
    """Refuse a request without a bearer key.

    Raises:
        ApiRefusal: 401.
    """
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise ApiRefusal(NO_KEY, status=401)


def read_body(headers: Mapping[str, str], content: bytes) -> Json:
    """Decode the JSON object of a request.

    Raises:
        ApiRefusal: It is not declared as JSON, is no JSON (NaN and lone surrogates are none), or no object.
    """
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        message = (
            f"Unsupported content type: '{media}'. This API method only accepts 'application/json' requests, "
            f"but you specified the header 'Content-Type: {media}'."
        )
        raise ApiRefusal(message, code="unsupported_content_type")
    try:
        body = json.loads(content, parse_constant=_refuse_constant)
        json.dumps(body, ensure_ascii=False).encode()  # a lone surrogate is found only here
    except (ValueError, RecursionError) as error:
        raise ApiRefusal(NOT_JSON) from error
    if not isinstance(body, dict):
        raise ApiRefusal(NOT_JSON)
    return body


def check_request(body: Json, store: Store, *, compact: bool = False, strict: bool = True) -> list[Json]:
    """Check a request to create a response, or to compact a conversation, and return its effective input.

    Args:
        body: The request.
        store: What the server keeps.
        compact: It is a request to compact.
        strict: Check it as OpenAI's server does; else only what every server needs.

    Raises:
        ApiRefusal: The real API would refuse it.
    """
    if strict:
        (check_compact_params if compact else check_params)(body)
    elif not isinstance(body.get("model"), str):
        raise missing("model")
    return store.effective(body)


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")
