"""How endings of a request to the model are told apart."""

from __future__ import annotations

import openai
import pytest

from handfast.models.port import ModelCallError, ModelRequest
from handfast.models.responses import ResponsesModel


async def test_a_client_that_raises_anything_is_a_model_that_is_not_there() -> None:
    """A key function that fails is tried again for as long as a provider's bad hour, and then ends the run with a
    type; what it said is not recorded."""

    async def key() -> str:
        raise LookupError("vault token s.4711 has expired")

    request = ModelRequest(model="m", instructions="", items=[], tools=[], settings={})
    async with openai.AsyncOpenAI(base_url="http://127.0.0.1:9", api_key=key) as client:
        with pytest.raises(ModelCallError) as failed:
            await ResponsesModel(client).answer(request)
    assert (failed.value.kind, failed.value.retryable) == ("ModelUnavailable", True)
    assert failed.value.message == "the model's client raised LookupError"
