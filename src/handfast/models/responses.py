"""The OpenAI Responses API, and what speaks it, through any client of the `openai` package."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import httpx2
import openai
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from handfast.definitions.checks import check_count
from handfast.errors import DefinitionError
from handfast.models.background import BackgroundResponse
from handfast.models.conversations import ResponsesConversations
from handfast.models.omissions import ENCRYPTED, MOST, UNREADABLE, omission_for, without, without_reasoning
from handfast.models.port import ConversationPort, ModelAnswer, ModelCallError, ModelRequest
from handfast.models.prices import Price, checked_prices
from handfast.models.reading import broken
from handfast.models.streaming import streamed, whole_answer
from handfast.models.transport import sent_as
from handfast.models.vendor_errors import failure_of
from handfast.payloads.call_items import PROVIDER_FIELDS
from handfast.payloads.json_profile import JsonObject

logger = logging.getLogger(__name__)

CREATE: Final = "/responses"
COMPACT: Final = "/responses/compact"
COMPACT_SETTINGS: Final = ("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "service_tier")
"""Settings of a request that one to compact takes too."""
MOST_TOOLS: Final = 128
"""Tools that one request to OpenAI may offer."""
REMEMBERED: Final = 10_000
"""Reasoning items that are known to be unreadable, the newest of them."""

_NOT_FOUND: Final = re.compile(r"not found|not exist|no longer|expired|unknown|could not be found", re.I)
_NO_PATH: Final = re.compile(
    r"\s*(<|(404 )?(page )?not found\W*$|method not allowed\W*$|invalid url|cannot post|no route)", re.I
)
_HISTORY: Final = re.compile(r"\b(conversation|response)\b", re.I)


class ResponsesModel:
    """One request is one POST to ``/responses``; retries are Temporal's.

    The reply is read as plain JSON instead of through the client's models: it is handed on verbatim, also where the
    client is older than the API. What a server refuses a request for, and the request can do without, is left out of
    it, and of later ones to the same model: once for each worker, model entry and model.
    """

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        *,
        reasoning: Literal["keep", "drop"] = "keep",
        store: bool | None = False,
        strict: bool = True,
        max_tools: int | None = MOST_TOOLS,
        prices: Mapping[str, Price] | None = None,
        model: str | None = None,
    ) -> None:
        """Describe a model entry, for ``HandfastPlugin(models={…})``.

        Args:
            client: The client. A client alone stands for an entry with what is said here as default.
            reasoning: Whether the reasoning of earlier replies goes back to the model, encrypted where the server
                encrypts it. *drop* neither asks for it nor sends it.
            store: What requests say of keeping their response, where nothing that the run wants needs it kept; None
                says nothing, for the server to decide.
            strict: Whether schemas of tools and answers are sent as strict ones.
            max_tools: How many tools one request may offer: a worker whose agent has more does not start. None where
                the server has no such limit.
            prices: What its models cost, by their names; under ``"*"`` that of every other one.
            model: The model that is asked for agents that name none.

        Raises:
            DefinitionError: An option has none of its values.
        """
        if reasoning not in ("keep", "drop"):
            raise DefinitionError("ResponsesModel", f"reasoning must be 'keep' or 'drop', not {reasoning!r}")
        check_count("ResponsesModel", "max_tools", max_tools, none="no limit")
        self._client = client.with_options(max_retries=0)
        self._reasoning = reasoning
        self._store = store
        self._strict = strict
        self.max_tools = max_tools
        self.prices = checked_prices("ResponsesModel", prices)
        self.model = model
        self.conversations: ConversationPort = ResponsesConversations(self._client)
        self._learned: dict[str, list[str]] = {}
        self._unreadable: dict[str, None] = {}

    @property
    def known_settings(self) -> frozenset[str]:
        """The parameters of a response, as this version of the `openai` package has them."""
        return frozenset(ResponseCreateParamsBase.__annotations__)

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Call the model once.

        Raises:
            ModelCallError: It did not answer, or not with a reply.
            StillUnderwayError: A background response takes longer than the attempt can wait.
        """
        body: dict[str, Any] = {**request.settings, **({"model": request.model} if request.model else {})}
        body["input"] = self._readable(request.items)
        if request.store or self._store is not None:
            body["store"] = request.store or bool(self._store)
        asked = [ENCRYPTED] if self._reasoning == "keep" else []
        if include := list(dict.fromkeys([*asked, *request.settings.get("include", ())])):
            body["include"] = include
        for name in ("previous_response_id", "conversation"):
            if (place := getattr(request, name)) is not None:
                body[name] = place
        if request.instructions:
            body["instructions"] = request.instructions
        if request.tools:
            body["tools"] = list(request.tools)
        answer = await self._asked(CREATE, body if self._strict else _lenient(body), request)
        if request.previous_response_id is not None and not answer.kept:
            # Ollama, for one, takes no notice of the field: the model has read the new items alone.
            message = "the server keeps no responses, and has continued none"
            raise ModelCallError("HistoryLost", message, retryable=False, usage=answer.usage)
        return answer

    async def compact(self, request: ModelRequest) -> ModelAnswer:
        """Compact a conversation once, by ``POST /responses/compact``; tools and most settings do not matter to it.

        Raises:
            ModelCallError: It did not answer, or not with a compacted conversation.
        """
        kept = {name: value for name, value in request.settings.items() if name in COMPACT_SETTINGS}
        body: dict[str, Any] = {**kept, "model": request.model, "input": self._readable(request.items)}
        if request.instructions:
            body["instructions"] = request.instructions
        answer = await self._asked(COMPACT, body, request)
        if not any(item["type"] == "compaction" for item in answer.items):
            raise broken("the provider's answer holds no compaction", answer.usage)
        return answer

    async def _asked(self, path: str, body: JsonObject, request: ModelRequest) -> ModelAnswer:
        """Send a request, and send it again without what it is refused for and can do without."""
        left_out = list(self._learned.get(request.model, ()))
        for omission in left_out:
            body = without(body, omission)
        if self._reasoning == "keep" and any(_key(item) in self._unreadable for item in _thoughts(request.items)):
            left_out.append(UNREADABLE)
        known = len(left_out)
        while True:
            try:
                answer = await self._sent(path, body, request)
            except ModelCallError as error:
                more = _omission(error, body) if len(left_out) - known < MOST else None
                if more is None:
                    raise _lost(_of_another_api(error, path), body) from error
                logger.warning("%s refused %s (%s); it is left out", request.model, more, error.message)
                if more == UNREADABLE:
                    self._forget_reasoning(body["input"])
                body = without(body, more)
                left_out.append(more)
                if request.background is not None:
                    request = replace(request, background=replace(request.background, resume=None))
                continue
            self._learn(request.model, left_out[known:])
            return replace(answer, left_out=tuple(dict.fromkeys(left_out)))

    async def _sent(self, path: str, body: JsonObject, request: ModelRequest) -> ModelAnswer:
        client = sent_as(self._client, request.transport)
        if path == CREATE and request.background is not None:
            return await BackgroundResponse(client, request.background).answer(body, request.on_delta)
        if path == CREATE and request.on_delta is not None:
            return await streamed(client, body, request.on_delta)
        try:
            response = await client.post(path, cast_to=httpx2.Response, body=body)
        except Exception as error:
            raise failure_of(error) from error
        return whole_answer(response.content, response.headers)

    def _learn(self, model: str, omissions: Sequence[str]) -> None:
        """Leave out at once, from now on, what this model was refused for."""
        learned = self._learned.setdefault(model, [])
        learned += [each for each in omissions if each != UNREADABLE and each not in learned]

    def _readable(self, items: Sequence[JsonObject]) -> list[JsonObject]:
        """The conversation without what this server would not take: reasoning that it is known not to read, or not
        to want, and what only another API has."""
        items = [_of_this_api(item) for item in items]
        gone = [item for item in _thoughts(items) if self._is_useless(item)]
        return without_reasoning(items, gone) if gone else items

    def _is_useless(self, thought: JsonObject) -> bool:
        if self._reasoning == "drop" or _key(thought) in self._unreadable:
            return True
        return not thought.get("id") and not thought.get("encrypted_content")  # text, of another API

    def _forget_reasoning(self, items: Sequence[JsonObject]) -> None:
        self._unreadable |= dict.fromkeys(map(_key, _thoughts(items)))
        while len(self._unreadable) > REMEMBERED:
            del self._unreadable[next(iter(self._unreadable))]


def _thoughts(items: Sequence[JsonObject]) -> list[JsonObject]:
    return [item for item in items if item.get("type") == "reasoning"]


def _of_this_api(item: JsonObject) -> JsonObject:
    """Leave out what servers of other APIs want back with an item."""
    return {name: value for name, value in item.items() if name != PROVIDER_FIELDS} if PROVIDER_FIELDS in item else item


def _key(thought: JsonObject) -> str:
    return str(thought.get("id") or thought.get("encrypted_content"))


def _omission(error: ModelCallError, body: JsonObject) -> str | None:
    return omission_for(error.said, body) if error.kind == "ModelRefused" and error.said is not None else None


def _lost(error: ModelCallError, body: JsonObject) -> ModelCallError:
    """Tell a history that is lost from another refusal: servers say so in many ways, and some without naming what."""
    place = body.get("conversation") or body.get("previous_response_id")
    said = error.said
    if place is None or said is None or not _NOT_FOUND.search(said.message):
        return error
    by_id = str(place) in said.message and (error.kind == "ModelRefused" or said.status is None)
    by_name = error.kind == "ModelRefused" and said.status == 404 and _HISTORY.search(said.message) is not None
    if not (by_id or by_name):
        return error
    return ModelCallError("HistoryLost", f"the provider has forgotten it: {said.message}", retryable=False, said=said)


def _of_another_api(error: ModelCallError, path: str) -> ModelCallError:
    """Say what a server means that does not know the path: it is older than the API, or has another one."""
    said = error.said
    if path != CREATE or said is None or said.status not in (404, 405) or not _NO_PATH.match(said.message):
        return error
    hint = "(its server seems to have no Responses API: make its model entry of ChatCompletionsModel)"
    return ModelCallError(error.kind, f"{error.message} {hint}", retryable=False, said=said)


def _lenient(body: JsonObject) -> JsonObject:
    """The same request with schemas that are no strict ones."""
    tools = [{**tool, "strict": False} if tool.get("strict") else tool for tool in body.get("tools", ())]
    body = {**body, "tools": tools} if tools else body
    wanted = body.get("text") or {}
    if not (wanted.get("format") or {}).get("strict"):
        return body
    return {**body, "text": {**wanted, "format": {**wanted["format"], "strict": False}}}
