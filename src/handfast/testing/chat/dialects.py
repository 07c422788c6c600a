"""The dialects of the Chat Completions API that the scripted model speaks.

What each server does is taken from its public documentation and source: Ollama's ``openai/openai.go``, vLLM's
``entrypoints/openai``, the pages of LM Studio, OpenRouter, Azure and LiteLLM on their endpoint, and their issue
trackers. They change: what a test relies on is what stands here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from handfast.testing.chat.dialect import ChatDialect, Chunks
from handfast.testing.record import Json
from handfast.testing.responses.dialects import SIGNATURE
from handfast.testing.responses.refusal import ApiRefusal

# --- what more than one of them does ---


def _calls_in(body: Json) -> Iterator[Json]:
    for message in body["messages"]:
        yield from message.get("tool_calls") or ()


def _refuse_arguments(body: Json, words: Callable[[str], str]) -> None:
    """Refuse calls whose arguments are no JSON object: some servers decode them for the model's template."""
    for called in _calls_in(body):
        try:
            arguments = json.loads(called["function"]["arguments"]) if "function" in called else {}
        except ValueError as error:
            raise ApiRefusal(words(str(error))) from None
        if not isinstance(arguments, dict):
            raise ApiRefusal(words("not an object"))


def _message(completion: Json, change: Callable[[Json], Json], **choice: Any) -> Json:
    [only] = completion["choices"]
    return {**completion, "choices": [{**only, "message": change(only["message"]), **choice}]}


def _renamed(message: Json, new_id: Callable[[str], str]) -> Json:
    """The same message with other ids for its calls."""
    calls = [{**called, "id": new_id(called["id"])} for called in message.get("tool_calls") or ()]
    return {**message, "tool_calls": calls} if calls else message


def _without(value: Json, *names: str) -> Json:
    return {name: each for name, each in value.items() if name not in names}


def _changed(chunks: Chunks, change: Callable[[Json], Json]) -> Iterator[Json]:
    """Change the deltas of chunks that have one."""
    for chunk in chunks:
        yield {**chunk, "choices": [{**each, "delta": change(each["delta"])} for each in chunk["choices"]]}


def _uncounted(chunks: Chunks) -> Iterator[Json]:
    """Chunks without ``"usage": null``, the one that counts apart."""
    return (_without(chunk, "usage") if chunk.get("usage", 0) is None else chunk for chunk in chunks)


def _signature(text: str) -> str:
    return base64.b64encode(hashlib.sha512(text.encode()).digest()).decode()


# --- Ollama ---

_OLLAMA_IMAGES: Final = tuple(
    f"data:{kind};base64," for kind in ("", *(f"image/{k}" for k in ("jpeg", "jpg", "png", "webp")))
)
_OLLAMA_UNKNOWN: Final = ("refusal", "annotations", "reasoning_content")


def _ollama_check(body: Json) -> None:
    """Pictures come inside the message, and other parts than those and texts do not exist."""
    for message in body["messages"]:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if part["type"] not in ("text", "image_url"):
                raise ApiRefusal("invalid message format")
            if part["type"] == "image_url" and not part["image_url"]["url"].startswith(_OLLAMA_IMAGES):
                raise ApiRefusal("invalid image input")
    _refuse_arguments(body, lambda _: "invalid tool call arguments")
    if body.get("reasoning_effort") not in (None, "high", "medium", "low", "none"):
        raise ApiRefusal(
            f'invalid reasoning value: \'{body["reasoning_effort"]}\' (must be "high", "medium", "low", or "none")'
        )


def _ollama_said(message: Json) -> Json:
    """Reasoning under another name, "" where nothing is said, and an index in each call."""
    said = _without(message, *_OLLAMA_UNKNOWN)
    thought = {"reasoning": message["reasoning_content"]} if message.get("reasoning_content") else {}
    calls = [{"index": n, **called} for n, called in enumerate(message.get("tool_calls") or ())]
    return {
        **said,
        "role": "assistant",
        "content": said.get("content") or "",
        **thought,
        **({"tool_calls": calls} if calls else {}),
    }


def _ollama_reply(completion: Json, body: Json) -> Json:
    """Usage without details."""
    usage = {name: completion["usage"][name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    [choice] = completion["choices"]
    choice = _without({**choice, "message": _ollama_said(choice["message"])}, "logprobs")
    shown = _without(completion, "service_tier")
    return {**shown, "system_fingerprint": "fp_ollama", "choices": [choice], "usage": usage}


def _ollama_chunks(chunks: Chunks, completion: Json) -> Iterator[Json]:
    """Each delta names the role and has a content; a call comes in one piece."""
    [choice] = completion["choices"]
    calls = iter(choice["message"].get("tool_calls") or ())
    for chunk in (_without(each, "service_tier") for each in _uncounted(chunks)):
        if not chunk["choices"]:
            yield chunk
            continue
        [only] = chunk["choices"]
        delta = only["delta"]
        if delta.get("tool_calls"):
            if "id" not in delta["tool_calls"][0]:
                continue  # a further piece of a call that came whole
            delta = {"tool_calls": [next(calls)]}
        elif not delta.get("content") and not delta.get("reasoning") and only["finish_reason"] is None:
            continue
        told = {"role": "assistant", "content": "", **_without(delta, "refusal")}
        yield {**chunk, "choices": [_without({**only, "delta": told}, "logprobs")]}


def _ollama_error(status: int, message: str, code: str | None, param: str | None) -> Json:
    kind = {400: "invalid_request_error", 404: "not_found_error"}.get(status, "api_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


# --- vLLM ---

_VLLM_MESSAGE: Final[Json] = {"refusal": None, "annotations": None, "audio": None, "function_call": None}


def _vllm_check(body: Json) -> None:
    _refuse_arguments(body, lambda problem: problem)
    if body.get("tool_choice") is not None and not body.get("tools"):
        raise ApiRefusal("When using `tool_choice`, `tools` must be set.")


def _vllm_reply(completion: Json, body: Json) -> Json:
    """Fields that nobody set are null, a message without calls has an empty list of them."""

    def change(message: Json) -> Json:
        said = {
            **_without(message, "reasoning_content"),
            **_VLLM_MESSAGE,
            "tool_calls": message.get("tool_calls") or [],
        }
        return {**_renamed(said, lambda id: f"chatcmpl-tool-{id}"), "reasoning": message.get("reasoning_content")}

    usage = {**_without(completion["usage"], "completion_tokens_details"), "prompt_tokens_details": None}
    told = _message(completion, change, stop_reason=None, token_ids=None)
    null = ("service_tier", "system_fingerprint", "prompt_logprobs", "prompt_token_ids", "kv_transfer_params")
    return {**told, **dict.fromkeys(null), "usage": usage}


def _vllm_chunks(chunks: Chunks, completion: Json) -> Iterator[Json]:
    for chunk in _uncounted(_changed(chunks, lambda delta: _without(delta, "refusal"))):
        yield _without(chunk, "service_tier", "system_fingerprint")


# --- LM Studio ---


def _lmstudio_check(body: Json) -> None:
    if (body.get("response_format") or {}).get("type") == "json_object":
        raise ApiRefusal("'response_format.type' must be 'json_schema' or 'text'")
    if isinstance(body.get("tool_choice"), dict):
        kinds = "Supported string values: none, auto, required"
        raise ApiRefusal(f"Invalid tool_choice type: 'object'. {kinds}")


def _lmstudio_reply(completion: Json, body: Json) -> Json:
    """Ids of calls are nine digits."""

    def change(message: Json) -> Json:
        said = {"tool_calls": [], **_without(message, "refusal", "annotations"), "content": message["content"] or ""}
        return _renamed(said, lambda id: str(int(hashlib.sha256(id.encode()).hexdigest(), 16))[:9])

    shown = _without(completion, "service_tier")
    return {**_message(shown, change), "stats": {}, "system_fingerprint": completion["model"]}


def _lmstudio_chunks(chunks: Chunks, completion: Json) -> Iterator[Json]:
    """A chunk has no usage but the one for it; a piece of a call says again that it is a function."""

    def change(delta: Json) -> Json:
        calls = [{**called, "type": "function"} for called in delta.get("tool_calls") or ()]
        return {**_without(delta, "refusal"), **({"tool_calls": calls} if calls else {})}

    for chunk in _uncounted(_changed(chunks, change)):
        yield {**_without(chunk, "service_tier"), "system_fingerprint": completion["model"]}


def _lmstudio_error(status: int, message: str, code: str | None, param: str | None) -> Json:
    """A problem of a request is one sentence."""
    if status < 500:
        return {"error": message}
    return {"error": {"message": message, "type": "internal_error", "param": param, "code": code or "unknown"}}


# --- OpenRouter ---

_ROUTED: Final = "anthropic-claude-v1"
_COST: Final = {"cost": 0.0001, "is_byok": False, "cost_details": {"upstream_inference_cost": None}}


def _openrouter_reply(completion: Json, body: Json) -> Json:
    """Reasoning in the open, and signed in parts; what it has cost."""

    def change(message: Json) -> Json:
        thought = message.get("reasoning_content")
        said = {**_without(message, "reasoning_content", "annotations"), "reasoning": thought}
        return {**said, "reasoning_details": [_signed(thought)]} if thought else said

    [choice] = completion["choices"]
    native = {"tool_calls": "tool_use", "stop": "end_turn", "length": "max_tokens"}.get(
        choice["finish_reason"], "refusal"
    )
    told = _message(_without(completion, "service_tier"), change, native_finish_reason=native)
    made = f"gen-{completion['created']}-{completion['id'][-20:]}"
    return {**told, "id": made, "provider": "Anthropic", "usage": {**completion["usage"], **_COST}}


def _signed(thought: str) -> Json:
    part = {"type": "reasoning.text", "text": thought, "signature": _signature(thought)}
    return {**part, "format": _ROUTED, "index": 0}


def _openrouter_chunks(chunks: Chunks, completion: Json) -> Iterator[Json]:
    """Each piece of reasoning is a piece of its part too, whose signature comes last; usage comes unasked."""
    [choice] = completion["choices"]
    details = choice["message"].get("reasoning_details")
    native = choice["native_finish_reason"]
    bare: Json = {"type": "reasoning.text", "format": _ROUTED, "index": 0}
    thinking = counted = False
    head: Json = {}
    for chunk in _uncounted(chunks):
        head = {**_without(chunk, "service_tier", "choices", "usage"), "provider": "Anthropic"}
        counted = counted or "usage" in chunk
        if not chunk["choices"]:
            yield {**head, "choices": [], "usage": chunk["usage"]}
            continue
        [only] = chunk["choices"]
        delta = {"role": "assistant", "content": "", **_without(only["delta"], "refusal")}
        piece = delta.get("reasoning")
        if thinking and not piece:
            sealed = {
                "role": "assistant",
                "content": "",
                "reasoning_details": [{**bare, "signature": details[0]["signature"]}],
            }
            yield {**head, "choices": [{**only, "delta": sealed, "finish_reason": None, "native_finish_reason": None}]}
        thinking = bool(piece)
        if piece:
            delta["reasoning_details"] = [{**bare, "text": piece}]
        ended = native if only["finish_reason"] is not None else None
        yield {**head, "choices": [{**only, "delta": delta, "native_finish_reason": ended}]}
    if not counted:
        yield {**head, "choices": [], "usage": completion["usage"]}


def _openrouter_error(status: int, message: str, code: str | None, param: str | None) -> Json:
    """The code is a number."""
    return {
        "error": {"message": message, "code": status, "metadata": {"provider_name": "Anthropic"}},
        "user_id": "user_1",
    }


def _openrouter_broken(error: Json, head: Json) -> Json:
    """An error inside a stream comes beside a choice that ends with it."""
    told = {"code": error["error"]["code"], "message": error["error"]["message"]}
    ended = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": "error"}
    choice = {**ended, "native_finish_reason": None, "logprobs": None}
    return {**head, "provider": "Anthropic", "error": told, "choices": [choice]}


# --- LiteLLM's proxy ---


def _litellm_check(body: Json) -> None:
    """A model of Gemini's wants back the signature in each call's id."""
    for called in _calls_in(body):
        if SIGNATURE not in called["id"]:
            message = "litellm.BadRequestError: Function call is missing a thought_signature in functionCall parts."
            raise ApiRefusal(message, code="400")


def _litellm_reply(completion: Json, body: Json) -> Json:
    """The signature of each call is in its id, that of the reasoning in a block of its own."""

    def change(message: Json) -> Json:
        said = _renamed(_without(message, "annotations"), lambda id: f"{id}{SIGNATURE}{_signature(id) * 20}")
        thought = message.get("reasoning_content")
        if thought:
            said["thinking_blocks"] = [{"type": "thinking", "thinking": thought, "signature": _signature(thought)}]
        return {**said, "provider_specific_fields": {"refusal": None}}

    return _message(completion, change, provider_specific_fields={})


def _litellm_chunks(chunks: Chunks, completion: Json) -> Iterator[Json]:
    """A piece of reasoning is a piece of its block too, whose signature comes last."""
    [choice] = completion["choices"]
    blocks = choice["message"].get("thinking_blocks")
    thinking = False
    for chunk in _uncounted(chunks):
        for only in chunk["choices"]:
            piece = only["delta"].get("reasoning_content")
            if thinking and not piece:
                sealed = {"type": "thinking", "thinking": "", "signature": blocks[0]["signature"]}
                told = {"reasoning_content": "", "thinking_blocks": [sealed]}
                yield {**chunk, "choices": [{**only, "delta": told, "finish_reason": None}]}
            thinking = bool(piece)
            if piece:
                only["delta"]["thinking_blocks"] = [{"type": "thinking", "thinking": piece, "signature": None}]
        yield chunk


# --- Azure ---

_KINDS: Final = ("hate", "self_harm", "sexual", "violence")
_SAFE: Final = {kind: {"filtered": False, "severity": "safe"} for kind in _KINDS}
_PROMPT: Final = [{"prompt_index": 0, "content_filter_results": _SAFE}]


def _azure_reply(completion: Json, body: Json) -> Json:
    """Findings of its filters, in the prompt and in the answer."""
    told = _message(completion, lambda message: message, content_filter_results=_SAFE)
    return {**told, "prompt_filter_results": _PROMPT}


def _azure_chunks(chunks: Chunks, completion: Json) -> Iterator[Json]:
    """The first chunk has no choice, no id and no model: what the filters found in the prompt."""
    yield {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": _PROMPT}
    for chunk in chunks:
        yield {**chunk, "choices": [{**each, "content_filter_results": {}} for each in chunk["choices"]]}


_OPENAI: Final = ChatDialect(name="openai", strict=True, custom=True, thoughts="reasoning_content")
CHAT_DIALECTS: Final[Mapping[str, ChatDialect]] = {
    each.name: each
    for each in (
        _OPENAI,
        ChatDialect(
            name="azure",
            strict=True,
            custom=True,
            thoughts="reasoning_content",
            reply=_azure_reply,
            chunks=_azure_chunks,
        ),
        ChatDialect(
            name="ollama",
            check=_ollama_check,
            reply=_ollama_reply,
            chunks=_ollama_chunks,
            error=_ollama_error,
        ),
        ChatDialect(name="vllm", check=_vllm_check, reply=_vllm_reply, chunks=_vllm_chunks),
        ChatDialect(
            name="lmstudio",
            check=_lmstudio_check,
            reply=_lmstudio_reply,
            chunks=_lmstudio_chunks,
            error=_lmstudio_error,
            names_errors=True,
        ),
        ChatDialect(
            name="openrouter",
            thoughts="reasoning_details",
            reply=_openrouter_reply,
            chunks=_openrouter_chunks,
            before=b": OPENROUTER PROCESSING\n\n",
            error=_openrouter_error,
            broken=_openrouter_broken,
        ),
        ChatDialect(
            name="litellm",
            check=_litellm_check,
            thoughts="thinking_blocks",
            reply=_litellm_reply,
            chunks=_litellm_chunks,
        ),
    )
}
"""By name."""


def chat_dialect(name: str) -> ChatDialect:
    """Find a dialect; a server of the Responses API that is not among them speaks OpenAI's."""
    return CHAT_DIALECTS.get(name, _OPENAI)
