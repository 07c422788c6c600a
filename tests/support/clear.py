"""What somebody reads in a history, or on a disk, who has no key."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Iterator
from typing import Any, Final

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload, SearchAttributes
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from handfast.connection import connect
from handfast.encryption.converter import ENCRYPTED
from handfast.encryption.keyring import Keyring
from handfast.server import EmbeddedServer

BY_TEMPORAL: Final = frozenset({"core_patch"})
"""Markers of the SDK's own, with ids that the code has in it."""


def ring(*ids: str, **options: Any) -> Keyring:
    """A key ring whose first key is the current one; a key of one id is always the same."""
    return Keyring({id: id.encode().ljust(32, b"k") for id in ids}, current=ids[0], **options)


async def client_with(server: EmbeddedServer, keyring: Keyring | None) -> Client:
    """A client that encrypts with the ring, or not at all."""
    return await connect(server.address, encryption=keyring or False)


def clear(events: Iterable[HistoryEvent]) -> list[str]:
    """The payloads and failure texts of a history that are not encrypted, by where they stand."""
    return [f"{event.event_id} {where}" for event in events for where in _clear(event, "")]


def _clear(message: Message, where: str) -> Iterator[str]:
    if isinstance(message, SearchAttributes):
        return
    if isinstance(message, Payload):
        if message.metadata["encoding"] != ENCRYPTED:
            yield f"{where}: {message.data[:80]!r}"
        return
    if isinstance(message, Failure) and message.HasField("application_failure_info"):
        told = message.stack_trace or message.message.removeprefix("Encoded failure")
        if told:
            yield f"{where}: {told[:80]!r}"
    for field, value in message.ListFields():
        if field.message_type is None or (field.name == "details" and _marker(message) in BY_TEMPORAL):
            continue
        for name, each in _messages(value):
            yield from _clear(each, f"{where}.{field.name}{name}")


def _marker(message: Message) -> str:
    return str(getattr(message, "marker_name", ""))


def _messages(value: Any) -> Iterator[tuple[str, Message]]:
    if isinstance(value, Message):
        yield "", value
    elif hasattr(value, "items"):
        yield from ((f"[{key}]", each) for key, each in value.items() if isinstance(each, Message))
    else:
        yield from ((f"[{at}]", each) for at, each in enumerate(value) if isinstance(each, Message))


def files_with(needle: str, folder: str | os.PathLike[str]) -> list[str]:
    """The files below a folder that have a text in them, or in their names."""
    found = []
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            with (gzip.open if name.endswith(".gz") else open)(path, "rb") as file:
                if needle.encode() in file.read() or needle in path:
                    found.append(path)
    return found
