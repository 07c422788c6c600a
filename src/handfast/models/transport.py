"""Transport options of one request through a client of the `openai` package."""

from __future__ import annotations

from typing import Any

import openai

from handfast.models.port import Transport


def sent_as(client: openai.AsyncOpenAI, transport: Transport) -> openai.AsyncOpenAI:
    """Return *client* with what one request wants of its own."""
    if transport == Transport():
        return client
    headers = {name: openai.Omit() if value is None else value for name, value in transport.headers.items()}
    own_timeout: Any = {} if transport.timeout_s is None else {"timeout": transport.timeout_s}
    sent: Any = {"default_headers": headers, "default_query": dict(transport.query), **own_timeout}
    return client.with_options(**sent)
