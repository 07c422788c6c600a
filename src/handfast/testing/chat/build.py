"""The completion object: a scripted reply in the shape of the API."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Final

from handfast.testing._script_outputs import Call, CustomCall, Output, Reasoning, Refusal, Text
from handfast.testing._script_steps import Reply, Usage
from handfast.testing.record import Json
from handfast.testing.responses.build import free_call_ids
from handfast.testing.responses.refusal import ApiRefusal

_FINISHED: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}


def build_completion(reply: Reply, body: Json, items: Sequence[Json], token: str) -> Json:
    """Return the whole answer to a request.

    Args:
        reply: The scripted reply.
        body: The request.
        items: Its messages as items, from which free call ids and the default usage are derived.
        token: What the id of the answer ends with.
    """
    message = _message(reply.outputs, items)
    return {
        "id": f"chatcmpl-{token}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(reply, message)}],
        "usage": _usage(reply.usage or _estimate(body, message)),
        "service_tier": "default",
        "system_fingerprint": None,
    }


def refuse_unplayable(reply: Reply) -> None:
    """Refuse a script whose reply this API has no words for.

    Raises:
        ApiRefusal: It has an output of another API, or failed within a 200.
    """
    for output in reply.outputs:
        if not isinstance(output, Text | Refusal | Call | CustomCall | Reasoning):
            raise ApiRefusal(f"Chat Completions has no output of kind {output.kind!r}", code="script_failed")
    if reply.status == "failed":
        raise ApiRefusal("a completion does not fail: let the script Fail(500)", code="script_failed")


def _message(outputs: Sequence[Output], items: Sequence[Json]) -> Json:
    ids = free_call_ids(items, outputs)
    texts = [each.text for each in outputs if isinstance(each, Text)]
    refusals = [each.text for each in outputs if isinstance(each, Refusal)]
    thoughts = [each.summary for each in outputs if isinstance(each, Reasoning) and each.summary]
    message: Json = {"role": "assistant", "content": "".join(texts) if texts else None}
    message["refusal"] = "".join(refusals) if refusals else None
    message["annotations"] = []
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    calls: list[Json] = []
    for each in outputs:
        if isinstance(each, Call):
            told: Json = {"name": each.name, "arguments": each.arguments_text}
            calls.append({"id": each.call_id or next(ids), "type": "function", "function": told})
        elif isinstance(each, CustomCall):
            custom = {"name": each.name, "input": each.input}
            calls.append({"id": each.call_id or next(ids), "type": "custom", "custom": custom})
    if calls:
        message["tool_calls"] = calls
    return message


def _finish(reply: Reply, message: Json) -> str:
    if reply.status == "incomplete":
        return _FINISHED[reply.incomplete_reason or "max_output_tokens"]
    return "tool_calls" if message.get("tool_calls") else "stop"


def _estimate(body: Json, message: Json) -> Usage:
    return Usage(len(json.dumps(body["messages"])) // 4 + 1, len(json.dumps(message)) // 4)


def _usage(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
