"""Everything that is asked of the server but a new response: looking up, cancelling, deleting, conversations."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from handfast.testing.record import Json, RecordedRequest
from handfast.testing.responses.build import input_tokens
from handfast.testing.responses.check import read_body
from handfast.testing.responses.conversation import Store
from handfast.testing.responses.conversations import listed
from handfast.testing.responses.dialect import Dialect
from handfast.testing.responses.making import Making
from handfast.testing.responses.params import check_count_params, check_metadata
from handfast.testing.responses.refusal import ApiRefusal
from handfast.testing.responses.values import fields

ROOT: Final = "/v1/"


@dataclass(frozen=True)
class Follow:
    """A stream of a response that is made, or was made, in the background."""

    events: AsyncIterator[bytes]


class Lookups:
    """Answers from what is stored; takes no step of the script.

    Args:
        store: What is stored.
        makings: Responses that are made, or were made, in the background.
        dialect: What the server has.
    """

    def __init__(self, store: Store, makings: Mapping[str, Making], dialect: Dialect) -> None:
        self._store = store
        self._dialect = dialect
        self._makings = makings
        self._conversations = store.conversations

    def refuse_unknown(self, record: RecordedRequest) -> None:
        """Refuse a path or method that the API does not have.

        Raises:
            ApiRefusal: 404 or 405.
        """
        methods: tuple[str, ...] = ()
        match record.path.removeprefix(ROOT).split("/") if record.path.startswith(ROOT) else []:
            case ["chat", "completions"]:
                methods = ("POST",)
            case ["responses" | "conversations"] | ["responses", "compact" | "input_tokens"]:
                methods = ("POST",)
            case ["models"] | ["models", _] | ["responses", _, "input_items"]:
                methods = ("GET",)
            case ["files"]:
                methods = ("GET", "POST")
            case ["files", _]:
                methods = ("GET", "DELETE")
            case ["responses", _]:
                methods = ("GET", "DELETE")
            case ["responses", _, "cancel"]:
                methods = ("POST",)
            case ["conversations", _]:
                methods = ("GET", "POST", "DELETE")
            case ["conversations", _, "items"]:
                methods = ("GET", "POST")
            case ["conversations", _, "items", _]:
                methods = ("GET", "DELETE")
        if not methods or not self._has(record.path.removeprefix(ROOT)):
            raise ApiRefusal(f"Invalid URL ({record.method} {record.path})", status=404)
        if record.method not in methods:
            raise ApiRefusal(f"Not allowed to {record.method} on {record.path}.", status=405)

    def _has(self, path: str) -> bool:
        """Return whether the server knows such a path at all."""
        if path.startswith("conversations"):
            return self._dialect.conversations
        if path == "responses/compact":
            return self._dialect.compacts
        if path.startswith("files") or path == "responses/input_tokens":
            return self._dialect.strict
        return path in ("responses", "chat/completions") or path.startswith("models") or self._dialect.stores

    def answer(self, record: RecordedRequest, content: bytes) -> Json | Follow:
        """Answer a request of a known path and method.

        Raises:
            ApiRefusal: What it names is not there, or it is malformed.
        """
        kind, *names = record.path.removeprefix(ROOT).split("/")
        match kind:
            case "conversations":
                return self._conversation(record, names, content)
            case "files":
                return self._file(record, names, content)
            case "models":
                return self._model(names)
        match record.method, names:
            case "POST", ["input_tokens"]:
                return self._input_tokens(record, content)
            case "GET", [response_id, "input_items"]:
                self._stored(response_id)
                return listed(self._store.input_of(response_id), record.query)
            case "POST", [response_id, "cancel"]:
                return self._cancelled(response_id)
            case "DELETE", [response_id]:
                self._stored(response_id)
                self._store.forget(response_id)
                return {"id": response_id, "object": "response", "deleted": True}
        stored = self._stored(names[0])
        if record.query.get("stream") != "true":
            return stored
        if names[0] not in self._makings:
            raise ApiRefusal("This response was not created with background=true.", "stream", "invalid_value")
        return Follow(self._makings[names[0]].follow(record.query.get("starting_after")))

    def _conversation(self, record: RecordedRequest, names: list[str], content: bytes) -> Json:
        known, token = self._conversations, _token(record, content)
        if record.method == "POST" and content:
            record.body = read_body(record.headers, content)
        match record.method, names:
            case "POST", []:
                return known.create(record.body, token)
            case "GET", [name]:
                return known.show(name)
            case "POST", [name]:
                fields(record.body, "", {"metadata": check_metadata}, ("metadata",))
                known.show(name)["metadata"] = record.body["metadata"]
                return known.show(name)
            case "DELETE", [name]:
                return known.delete(name)
            case "GET", [name, "items"]:
                return known.listed(name, record.query)
            case "POST", [name, "items"]:
                return known.add(name, record.body, token)
            case "GET", [name, "items", item]:
                return known.item(name, item)
        return known.drop(names[0], names[2])

    def _file(self, record: RecordedRequest, names: list[str], content: bytes) -> Json:
        files = self._store.files
        match record.method, names:
            case "POST", []:
                return files.upload(record.headers, content, _token(record, content))
            case "GET", []:
                return files.listed()
            case "GET", [name]:
                return files.show(name)
        return files.delete(names[0])

    def _model(self, names: list[str]) -> Json:
        """Any model is there; those that were asked are listed."""
        facts: Json = {"object": "model", "created": 0, "owned_by": "handfast"}
        shown = [{"id": unquote(name), **facts} for name in names or self._store.models]
        return shown[0] if names else {"object": "list", "data": shown}

    def _input_tokens(self, record: RecordedRequest, content: bytes) -> Json:
        record.body = read_body(record.headers, content)
        check_count_params(record.body)
        record.items = self._store.effective(record.body)
        return {"object": "response.input_tokens", "input_tokens": input_tokens(record.body, record.items)}

    def _stored(self, response_id: str) -> Json:
        if response_id not in self._store.responses:
            raise ApiRefusal(f"Response with id '{response_id}' not found.", status=404)
        return self._store.responses[response_id]

    def _cancelled(self, response_id: str) -> Json:
        """Cancelling again, or what has ended, changes nothing."""
        response = self._stored(response_id)
        if response_id not in self._makings:
            raise ApiRefusal("Cannot cancel a synchronous response.", "response_id")
        self._makings[response_id].cancel()
        return response


def _token(record: RecordedRequest, content: bytes) -> str:
    return hashlib.sha256(f"{record.number} {record.path} ".encode() + content).hexdigest()[:40]
