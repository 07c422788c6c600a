"""Files that the server keeps, for parts that name one by its id."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from email import message_from_bytes
from typing import Any, Final

from handfast.testing.record import Json
from handfast.testing.responses.refusal import ApiRefusal, missing, wrong_value

PURPOSES: Final = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")


class Files:
    """Holds the files that were uploaded, by id; their contents are not kept."""

    def __init__(self) -> None:
        self._known: dict[str, Json] = {}

    def add(self, file_id: str, name: str = "file", purpose: str = "user_data", size: int = 0) -> Json:
        """Let a file be there."""
        facts = {"bytes": size, "created_at": int(time.time()), "filename": name, "purpose": purpose}
        self._known[file_id] = {"id": file_id, "object": "file", **facts, "status": "processed", "expires_at": None}
        return self._known[file_id]

    def upload(self, headers: Mapping[str, str], content: bytes, token: str) -> Json:
        """Take a file in.

        Raises:
            ApiRefusal: The request is no form, or lacks the file or its purpose.
        """
        media = headers.get("content-type", "")
        form = message_from_bytes(f"content-type: {media}\r\n\r\n".encode() + content)
        if form.get_content_type() != "multipart/form-data" or not form.is_multipart():
            raise ApiRefusal("Could not parse multipart form", code="unsupported_content_type")
        sent: dict[str, tuple[str, bytes]] = {}
        parts: Any = form.get_payload()
        for part in parts:
            name = str(part.get_param("name", "", "content-disposition"))
            sent[name] = (part.get_filename() or "", part.get_payload(decode=True) or b"")
        for name in ("purpose", "file"):
            if name not in sent:
                raise missing(name)
        purpose = sent["purpose"][1].decode(errors="replace")
        if purpose not in PURPOSES:
            raise wrong_value("purpose", purpose, PURPOSES)
        name, data = sent["file"]
        return self.add(f"file-{token[:24]}", name, purpose, len(data))

    def listed(self) -> Json:
        """All of them, the newest first."""
        found = list(self._known.values())[::-1]
        ends = {"first_id": found[0]["id"] if found else None, "last_id": found[-1]["id"] if found else None}
        return {"object": "list", "data": found, "has_more": False, **ends}

    def show(self, file_id: str) -> Json:
        """Facts of a file.

        Raises:
            ApiRefusal: There is none of that id.
        """
        if file_id not in self._known:
            raise ApiRefusal(f"No such File object: {file_id}", "id", status=404)
        return self._known[file_id]

    def delete(self, file_id: str) -> Json:
        """Forget a file.

        Raises:
            ApiRefusal: There is none of that id.
        """
        self.show(file_id)
        del self._known[file_id]
        return {"id": file_id, "object": "file", "deleted": True}

    def check(self, items: Sequence[Json]) -> None:
        """Refuse what names a file that is not there.

        Raises:
            ApiRefusal: Something does.
        """
        for param, file_id in _named(items):
            if file_id not in self._known:
                raise ApiRefusal(f"No such File object: {file_id}", param, "invalid_value")


def _named(items: Sequence[Json]) -> Iterator[tuple[str, str]]:
    """The files that parts of items name, and where they do."""
    for index, item in enumerate(items):
        for field in ("content", "output"):
            held = item.get(field)
            if isinstance(held, dict) and held.get("file_id"):
                yield f"input[{index}].{field}.file_id", str(held["file_id"])
            for place, part in enumerate(held if isinstance(held, list) else ()):
                if part.get("type") in ("input_image", "input_file") and part.get("file_id"):
                    yield f"input[{index}].{field}[{place}].file_id", str(part["file_id"])
