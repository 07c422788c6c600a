"""The dialects of the Responses API that the scripted model speaks.

What each server does is taken from its public documentation and source: Ollama's ``openai/responses.go``, vLLM's
``entrypoints/openai/responses``, the pages of LM Studio, OpenRouter, Azure and LiteLLM on their endpoint, the
specification of Open Responses, and their issue trackers. They change: what a test relies on is what stands here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from handfast.testing.record import Json
from handfast.testing.responses.dialect import Dialect, Events
from handfast.testing.responses.refusal import ApiRefusal, error_body

ENCRYPTED: Final = "reasoning.encrypted_content"
SIGNATURE: Final = "__thought__"
"""Between a call's id and the signature that LiteLLM carries in it for Gemini, which wants it back."""


# --- what more than one of them does ---


def _refuse_items(body: Json, known: Collection[str], parts: Collection[str], words: Callable[[str, str], str]) -> None:
    """Refuse items and parts of types that a server does not know, in its words."""
    items = body.get("input")
    for index, item in enumerate(items if isinstance(items, list) else []):
        kind = item.get("type") or ("message" if "role" in item else "")
        if kind not in known:
            raise ApiRefusal(words(f"input[{index}]", kind))
        content = item.get("content") if kind == "message" else None
        for place, part in enumerate(content if isinstance(content, list) else []):
            if part.get("type") not in parts:
                raise ApiRefusal(words(f"input[{index}]: content[{place}]", str(part.get("type"))))


def _refuse_arguments(body: Json, words: str) -> None:
    """Refuse calls whose arguments are no JSON object: some servers decode them for the model's template."""
    items = body.get("input")
    for item in items if isinstance(items, list) else []:
        if item.get("type") == "function_call":
            try:
                arguments = json.loads(item["arguments"])
            except ValueError as error:
                raise ApiRefusal(f"{words}: {error}") from None
            if not isinstance(arguments, dict):
                raise ApiRefusal(f"{words}: not an object")


def _items(response: Json, change: Callable[[Json], Json]) -> Json:
    return {**response, "output": [change(item) for item in response["output"]]}


def _thought(item: Json) -> str:
    return "\n".join(str(part.get("text")) for part in item.get("summary") or ())


def _without(events: Events, *kinds: str) -> Iterator[Json]:
    return (event for event in events if not str(event["type"]).startswith(kinds))


def _openly(item: Json) -> Json:
    """Reasoning as a text that everybody can read, and no summary: what open models give."""
    if item.get("type") != "reasoning":
        return item
    thought = [{"type": "reasoning_text", "text": _thought(item)}]
    return {**item, "summary": [], "content": thought, "encrypted_content": None, "status": None}


def _openly_too(item: Json) -> Json:
    """Reasoning as a text that everybody can read, beside whatever else there is of it."""
    if item.get("type") != "reasoning":
        return item
    return {**item, "content": [{"type": "output_text", "text": _thought(item)}]}


# --- Ollama ---

_OLLAMA_ITEMS: Final = ("message", "function_call", "function_call_output", "reasoning")
_OLLAMA_PARTS: Final = ("input_text", "input_image", "output_text", "input_file")


def _ollama_check(body: Json) -> None:
    def words(place: str, kind: str) -> str:
        what = "content type: " + kind if "content[" in place else f'input item type: "{kind}"'
        return f"{place}: unknown {what}"

    _refuse_items(body, _OLLAMA_ITEMS, _OLLAMA_PARTS, words)
    _refuse_arguments(body, "failed to parse function call arguments")


def _ollama_reply(response: Json, body: Json) -> Json:
    """Reasoning in plain text under the name of encrypted content; no message beside calls; no details of usage."""
    calls = any(item.get("type") == "function_call" for item in response["output"])
    output: list[Json] = []
    for item in response["output"]:
        if item.get("type") == "reasoning":
            thought = _thought(item)
            summary = [{"type": "summary_text", "text": thought}]
            output.append({"id": item["id"], "type": "reasoning", "summary": summary, "encrypted_content": thought})
        elif item.get("type") != "message" or not calls:
            output.append(item)
    usage = {**response["usage"], "input_tokens_details": {"cached_tokens": 0}} if response["usage"] else None
    return {**response, "output": output, "usage": usage, "store": False, "metadata": {}, "previous_response_id": None}


# --- vLLM ---

_VLLM_ITEMS: Final = (
    *("message", "function_call", "function_call_output", "reasoning", "web_search_call", "file_search_call"),
    *("code_interpreter_call", "mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response"),
)
_VLLM_PARTS: Final = ("input_text", "input_image", "input_file", "output_text", "refusal")
_VLLM_NULL: Final = ("incomplete_details", "metadata", "prompt", "reasoning", "text", "user", "max_tool_calls")


def _vllm_check(body: Json) -> None:
    def words(place: str, kind: str) -> str:
        return f"1 validation error for ResponsesRequest\n{place}: Input should be a valid item, not '{kind}'"

    if body.get("prompt") is not None:
        raise ApiRefusal("prompt template is not supported", "prompt")
    if body.get("previous_response_id") is not None:
        message = f"Response with id '{body['previous_response_id']}' not found."
        raise ApiRefusal(message, "response_id", status=404)
    _refuse_items(body, _VLLM_ITEMS, _VLLM_PARTS, words)
    _refuse_arguments(body, "Expecting value")


def _vllm_reply(response: Json, body: Json) -> Json:
    def change(item: Json) -> Json:
        if item.get("type") == "message":
            return {**item, "phase": None, "content": [{**part, "logprobs": None} for part in item["content"]]}
        if item.get("type") == "function_call":
            return {**item, "call_id": f"chatcmpl-tool-{item['call_id']}", "namespace": None}
        return _openly(item)

    null = {name: None for name in _VLLM_NULL if not body.get(name)}
    shown = {name: value for name, value in response.items() if name not in ("error", "completed_at", "store")}
    return {**_items(shown, change), **null, "input_messages": None, "output_messages": None}


def _vllm_events(events: Events) -> Iterator[Json]:
    """Reasoning has events of its own for its parts."""
    for event in events:
        part = event.get("part") or {}
        if event["type"].startswith("response.content_part") and part.get("type") == "reasoning_text":
            yield {**event, "type": event["type"].replace("content_part", "reasoning_part")}
        else:
            yield event


def _vllm_error(status: int, message: str, code: str | None, param: str | None) -> Json:
    kind = {400: "BadRequestError", 404: "NotFoundError", 429: "TooManyRequests"}.get(status, "InternalServerError")
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


# --- LM Studio ---


def _lmstudio_check(body: Json) -> None:
    wanted = body.get("text")
    if wanted is not None and "format" not in wanted:
        raise ApiRefusal("Required", "text.format", "missing_required_parameter")


# --- OpenRouter ---


def _openrouter_check(body: Json) -> None:
    for name in ("previous_response_id", "conversation", "background"):
        if body.get(name):
            raise ApiRefusal(f"{name} is not supported: the API is stateless", name, "invalid_prompt")


def _openrouter_reply(response: Json, body: Json) -> Json:
    def change(item: Json) -> Json:
        if item.get("type") != "reasoning":
            return item
        return {**item, "summary": _thought(item).splitlines(), "format": "openai-responses-v1"}

    usage = {**response["usage"], "cost": 0.0001} if response["usage"] else None
    return {**_items(response, change), "usage": usage, "presence_penalty": None, "frequency_penalty": None}


def _openrouter_error(status: int, message: str, code: str | None, param: str | None) -> Json:
    named = {429: "rate_limit_exceeded"}.get(status, "server_error" if status >= 500 else "invalid_prompt")
    return {"error": {"code": code or named, "message": message}, "metadata": None}


# --- LiteLLM's proxy ---


def _litellm_check(body: Json) -> None:
    """A model of Gemini's wants back the signature in each call's id."""
    items = body.get("input")
    for item in items if isinstance(items, list) else []:
        if item.get("type") == "function_call" and SIGNATURE not in str(item.get("call_id")):
            message = "litellm.BadRequestError: Function call is missing a thought_signature in functionCall parts."
            raise ApiRefusal(message, code="400")


def _litellm_reply(response: Json, body: Json) -> Json:
    def change(item: Json) -> Json:
        if item.get("type") != "function_call":
            return item
        digest = hashlib.sha512(str(item["call_id"]).encode()).digest()
        call_id = f"{item['call_id']}{SIGNATURE}{base64.b64encode(digest * 30).decode()}"
        return {**item, "id": f"fc_{call_id}", "call_id": call_id}

    made = base64.b64encode(f"litellm:custom_llm_provider:gemini;response_id:{response['id']}".encode()).decode()
    return {**_items(response, change), "id": f"resp_{made}"}


def _litellm_events(events: Events) -> Iterator[Json]:
    """The closing event does not say again what came."""
    for event in events:
        if event["type"] == "response.completed":
            yield {**event, "response": {**event["response"], "output": []}}
        elif not event["type"].startswith("response.reasoning_summary_part"):
            yield event


def _litellm_error(status: int, message: str, code: str | None, param: str | None) -> Json:
    names = {400: "BadRequestError", 401: "AuthenticationError", 404: "NotFoundError", 429: "RateLimitError"}
    name = names.get(status, "ServiceUnavailableError" if status == 503 else "InternalServerError")
    return {"error": {"message": f"litellm.{name}: {message}", "type": None, "param": param, "code": str(status)}}


# --- Azure ---


def _azure_reply(response: Json, body: Json) -> Json:
    checked = {"blocked": False, "source_type": "completion", "content_filter_results": {}}
    return {**response, "content_filters": [checked]}


def _azure_error(status: int, message: str, code: str | None, param: str | None) -> Json:
    """Encrypted content that cannot be read has no code, and a 429 says how long to wait in its sentence alone."""
    if code == "invalid_encrypted_content":
        return error_body(status, message, None, None)
    if status == 429:
        message = f"{message} Please retry after 1 second."
        return {"error": {"code": "429", "message": message}}
    return error_body(status, message, code, param)


# --- Open Responses ---

_OPEN_ITEMS: Final = ("message", "function_call", "function_call_output", "reasoning", "item_reference", "compaction")
_OPEN_PARTS: Final = ("input_text", "input_image", "input_file", "input_video", "output_text", "refusal")
_OPEN_INCLUDE: Final = (ENCRYPTED, "message.output_text.logprobs")


def _open_check(body: Json) -> None:
    """The specification's own items and tools; those of a provider have its name before theirs."""

    def words(place: str, kind: str) -> str:
        return f"{place}: the type '{kind}' is not part of Open Responses"

    def known(names: Collection[str], listed: object, key: str) -> list[str]:
        kinds = [str(each.get(key)) for each in (listed if isinstance(listed, list) else []) if isinstance(each, dict)]
        return [*names, *(kind for kind in kinds if ":" in kind)]

    _refuse_items(body, known(_OPEN_ITEMS, body.get("input"), "type"), _OPEN_PARTS, words)
    for index, tool in enumerate(body.get("tools") or ()):
        if tool.get("type") not in known(("function",), body.get("tools"), "type"):
            raise ApiRefusal(words(f"tools[{index}]", str(tool.get("type"))), f"tools[{index}].type", "invalid_value")
    for index, name in enumerate(body.get("include") or ()):
        if name not in _OPEN_INCLUDE:
            raise ApiRefusal(f"include[{index}]: unknown value '{name}'", f"include[{index}]", "invalid_value")


def _open_error(status: int, message: str, code: str | None, param: str | None) -> Json:
    kinds = {404: "not_found", 429: "too_many_requests", 503: "model_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


OPENAI: Final = Dialect(name="openai", strict=True, conversations=True, background=True, compacts=True)
DIALECTS: Final[Mapping[str, Dialect]] = {
    each.name: each
    for each in (
        OPENAI,
        Dialect(
            name="azure",
            strict=True,
            conversations=True,
            background=True,
            compacts=True,
            reply=_azure_reply,
            error=_azure_error,
        ),
        Dialect(
            name="ollama",
            check=_ollama_check,
            stores=False,
            encrypts="always",
            reply=_ollama_reply,
            events=lambda events: _without(events, "response.reasoning_summary_part"),
        ),
        Dialect(
            name="vllm",
            check=_vllm_check,
            stores=False,
            encrypts="always",
            reply=_vllm_reply,
            events=_vllm_events,
            error=_vllm_error,
        ),
        Dialect(
            name="lmstudio",
            check=_lmstudio_check,
            encrypts="always",
            reply=lambda response, body: _items(response, _openly),
        ),
        Dialect(
            name="openrouter",
            check=_openrouter_check,
            stores=False,
            reply=_openrouter_reply,
            names_events=False,
            before=b": OPENROUTER PROCESSING\n\n",
            after=b"data: [DONE]\n\n",
            error=_openrouter_error,
        ),
        Dialect(
            name="litellm",
            check=_litellm_check,
            reply=_litellm_reply,
            events=_litellm_events,
            after=b"data: [DONE]\n\n",
            error=_litellm_error,
        ),
        Dialect(
            name="open-responses",
            check=_open_check,
            compacts=True,
            reply=lambda response, body: _items(response, _openly_too),
            after=b"data: [DONE]\n\n",
            error=_open_error,
        ),
    )
}
"""By name."""


def dialect_named(name: str) -> Dialect:
    """Find a dialect.

    Raises:
        ValueError: There is none of that name.
    """
    found = DIALECTS.get(name)
    if found is None:
        raise ValueError(f"there is no dialect {name!r}; there are: {', '.join(sorted(DIALECTS))}")
    return found
