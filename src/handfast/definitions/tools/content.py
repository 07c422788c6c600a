"""Images, files and texts as parts of a tool's output."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from handfast.definitions.checks import a_kind, check_choice, check_text
from handfast.errors import DefinitionError
from handfast.payloads.json_profile import JsonObject, JsonValue, scrub

__all__ = ["Detail", "File", "Image", "Text", "parts_of"]

Detail: TypeAlias = Literal["low", "high", "auto", "original"]

IMAGE_TYPES: Final = ("image/png", "image/jpeg", "image/webp", "image/gif")
"""Media types that the Responses API takes as an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image as part of a tool's output: exactly one of *url*, *data* and *file_id*.

    Attributes:
        url: Address at which the model's provider finds it.
        data: The image itself. Parts above 256 KiB together go by reference: they need the worker's `artifacts`.
        file_id: Id of a file that was uploaded to the provider.
        media_type: Type of *data*: ``image/png``, ``image/jpeg``, ``image/webp`` or ``image/gif``.
        detail: Resolution at which the model reads it.
    """

    url: str | None = None
    data: bytes | None = None
    file_id: str | None = None
    media_type: str = "image/png"
    detail: Detail = "auto"

    def __post_init__(self) -> None:
        _exactly_one("Image", url=self.url, data=self.data, file_id=self.file_id)
        check_choice("Image", "media_type", self.media_type, IMAGE_TYPES)
        check_choice("Image", "detail", self.detail, get_args(Detail))

    def part(self) -> JsonObject:
        """Return the content part of the Responses API."""
        if self.file_id is not None:
            return {"type": "input_image", "file_id": scrub(self.file_id), "detail": self.detail}
        url = _data_url(self.media_type, self.data) if self.data is not None else scrub(self.url or "")
        return {"type": "input_image", "image_url": url, "detail": self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file as part of a tool's output: exactly one of *url*, *data* and *file_id*.

    Attributes:
        url: Address at which the model's provider finds it.
        data: The file itself; as for `Image`.
        file_id: Id of a file that was uploaded to the provider.
        filename: Needed with *data*.
        media_type: Type of *data*.
    """

    url: str | None = None
    data: bytes | None = None
    file_id: str | None = None
    filename: str | None = None
    media_type: str = "application/pdf"

    def __post_init__(self) -> None:
        _exactly_one("File", url=self.url, data=self.data, file_id=self.file_id)
        check_text("File", "filename", self.filename, none=True)
        if self.data is not None and not self.filename:
            raise DefinitionError("File", "data needs a filename")
        check_text("File", "media_type", self.media_type)
        if "/" not in self.media_type:
            raise DefinitionError("File", f"media_type must be like application/pdf, not {a_kind(self.media_type)}")

    def part(self) -> JsonObject:
        """Return the content part of the Responses API."""
        if self.file_id is not None:
            return {"type": "input_file", "file_id": scrub(self.file_id)}
        named: JsonObject = {} if self.filename is None else {"filename": scrub(self.filename)}
        if self.data is not None:
            return {"type": "input_file", "file_data": _data_url(self.media_type, self.data), **named}
        return {"type": "input_file", "file_url": scrub(self.url or ""), **named}


@dataclass(frozen=True, slots=True)
class Text:
    """A text beside images and files; a plain string does as well."""

    text: str

    def __post_init__(self) -> None:
        check_text("Text", "text", self.text)

    def part(self) -> JsonObject:
        """Return the content part of the Responses API."""
        return {"type": "input_text", "text": scrub(self.text)}


def parts_of(value: object) -> list[JsonValue] | None:
    """Return *value*, a part or a list of parts and strings, as content parts; None for anything else.

    A list of nothing but strings is a list, not content.
    """
    if isinstance(value, Image | File | Text):
        return [value.part()]
    if not isinstance(value, list | tuple) or not any(isinstance(each, Image | File | Text) for each in value):
        return None
    if not all(isinstance(each, Image | File | Text | str) for each in value):
        return None
    return [(Text(each) if isinstance(each, str) else each).part() for each in value]


def _exactly_one(subject: str, *, url: object, data: object, file_id: object) -> None:
    if sum(each is not None for each in (url, data, file_id)) != 1:
        raise DefinitionError(subject, "needs exactly one of url, data and file_id")
    for name, each in (("url", url), ("file_id", file_id)):
        check_text(subject, name, each, filled=True, none=True)
    if data is not None and not isinstance(data, bytes):
        raise DefinitionError(subject, f"data must be bytes, not {a_kind(data)}")


def _data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
