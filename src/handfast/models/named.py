"""Model entries by a name such as ``ollama:llama3.2``: the servers that most people have at hand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx2
import openai

from handfast.errors import DefinitionError, ModelClientMissingError
from handfast.models.any_llm import AnyLLMModel
from handfast.models.chat.model import ChatCompletionsModel
from handfast.models.port import ModelPort
from handfast.models.responses import ResponsesModel

EXAMPLE: Final = "ollama:llama3.2"
NO_KEY: Final = "none"
"""The key of servers that want none: the client does not do without."""


@dataclass(frozen=True)
class _Server:
    """A server whose address is known.

    Attributes:
        address: Of its API.
        variable: Environment variable that has another address, or else the key.
        chat: It is asked by Chat Completions.
        key: The variable has the key.
    """

    address: str
    variable: str
    chat: bool = False
    key: bool = False


SERVERS: Final[Mapping[str, _Server]] = {
    "ollama": _Server("http://127.0.0.1:11434/v1", "OLLAMA_HOST"),
    "lmstudio": _Server("http://127.0.0.1:1234/v1", "LMSTUDIO_HOST"),
    "vllm": _Server("http://127.0.0.1:8000/v1", "VLLM_HOST"),
    "llamacpp": _Server("http://127.0.0.1:8080/v1", "LLAMACPP_HOST", chat=True),
    "openrouter": _Server("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", key=True),
}


@dataclass(frozen=True)
class NamedModel:
    """A model by its name.

    Attributes:
        name: As it was given.
        model: Without its provider.
        port: Its entry.
        client: The client that was made for it; None where the entry keeps its own.
    """

    name: str
    model: str
    port: ModelPort
    client: openai.AsyncOpenAI | None = None

    @property
    def address(self) -> str:
        """Where its server is, if that is known."""
        return "" if self.client is None else str(self.client.base_url)


def named_model(name: str) -> NamedModel:
    """Make the entry of ``PROVIDER:MODEL``.

    The provider is ``openai``, ``ollama``, ``lmstudio``, ``vllm``, ``llamacpp`` or ``openrouter``; any other is asked
    through any-llm.

    Raises:
        DefinitionError: It is no such name, or its provider cannot be asked.
        ModelClientMissingError: It is OpenAI's, and there is no key.
    """
    provider, _, model = name.partition(":")
    if not provider or not model:
        known = ", ".join(["openai", *SERVERS])
        problem = f"name it as PROVIDER:MODEL, for example {EXAMPLE}; providers are {known}, and those of any-llm"
        raise DefinitionError(f"model {name!r}", problem)
    if provider == "openai":
        try:
            client = openai.AsyncOpenAI()
        except openai.OpenAIError:
            raise ModelClientMissingError from None
        return NamedModel(name, model, ResponsesModel(client, model=model), client)
    server = SERVERS.get(provider)
    if server is None:
        return NamedModel(name, model, AnyLLMModel(name))
    said = os.environ.get(server.variable) or ""
    if server.key and not said:
        raise DefinitionError(f"model {name!r}", f"set {server.variable}")
    address = server.address if server.key or not said else _address(said, server.address)
    client = openai.AsyncOpenAI(base_url=address, api_key=said if server.key else NO_KEY)
    if server.chat:
        return NamedModel(name, model, ChatCompletionsModel(client, model=model), client)
    return NamedModel(name, model, ResponsesModel(client, max_tools=None, model=model), client)


def _address(host: str, usual: str) -> str:
    """Read the address of a server as its own variable has it: ``0.0.0.0:11434``, or a URL."""
    url = httpx2.URL(host if "://" in host else f"http://{host}")
    port = url.port or int(usual.rpartition(":")[2].partition("/")[0])
    name = "127.0.0.1" if url.host in ("0.0.0.0", "::", "") else url.host
    path = url.path.rstrip("/") or "/v1"
    return f"{url.scheme}://{f'[{name}]' if ':' in name else name}:{port}{path}"
