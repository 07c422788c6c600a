"""Results of an MCP server, as a tool of ours returns them: texts, images, files, structured values."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    GetPromptResult,
    ImageContent,
    ReadResourceResult,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

from handfast.definitions.tools.content import IMAGE_TYPES, File, Image, Text
from handfast.mcp.tool import McpToolError
from handfast.payloads.json_profile import JsonValue

FILE_TYPES: Final = ("application/pdf",)
"""Media types that the Responses API takes as a file."""
FAILED: Final = "the server says that the call failed, and not why"

Part = Text | Image | File


def value_of(result: CallToolResult) -> object:
    """Return what a tool returned: one text, a structured value, or content parts.

    Raises:
        McpToolError: It says that it failed.
    """
    parts = [_part(each) for each in result.content]
    if result.is_error:
        said = "\n".join(part.text for part in parts if isinstance(part, Text))
        structured_said = "" if result.structured_content is None else json.dumps(result.structured_content)
        raise McpToolError(said or structured_said or FAILED)
    structured: JsonValue = result.structured_content
    if structured is None:
        return _joined(parts)
    if all(isinstance(part, Text) and _repeats(part.text, structured) for part in parts):
        return structured  # servers say the same once more as text, for clients that read no structured content
    return [*parts, Text(json.dumps(structured, ensure_ascii=False))]


def resource_of(result: ReadResourceResult) -> object:
    """Return the contents of a resource."""
    return _joined([_contents(each) for each in result.contents])


def prompt_of(result: GetPromptResult) -> object:
    """Return the messages of a prompt, each begun by the role that says it."""
    parts: list[Part] = []
    for message in result.messages:
        parts += [Text(f"{message.role}:"), _part(message.content)]
    return _joined(parts)


def _joined(parts: Sequence[Part]) -> object:
    if all(isinstance(part, Text) for part in parts):
        return "\n".join(part.text for part in parts if isinstance(part, Text))
    return list(parts)


def _part(content: ContentBlock) -> Part:
    match content:
        case TextContent(text=text):
            return Text(text)
        case ImageContent(data=data, mime_type=kind) | AudioContent(data=data, mime_type=kind):
            return _data(data, kind, None)
        case ResourceLink(uri=uri, name=name, description=description):
            return Text(f"{name}: {uri}" + (f" ({description})" if description else ""))
        case EmbeddedResource(resource=resource):
            return _contents(resource)


def _contents(resource: TextResourceContents | BlobResourceContents) -> Part:
    if isinstance(resource, TextResourceContents):
        return Text(resource.text)
    return _data(resource.blob, resource.mime_type, str(resource.uri))


def _data(encoded: str, kind: str | None, uri: str | None) -> Part:
    """Data of any kind: what no model could be given is named in its place."""
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return Text(f"[{kind or 'data'} that cannot be decoded]")
    plain = (kind or "").partition(";")[0].strip().lower()
    if plain in IMAGE_TYPES:
        return Image(data=data, media_type=plain)
    if plain in FILE_TYPES:
        return File(data=data, media_type=plain, filename=PurePosixPath(uri or "").name or "file.pdf")
    return Text(f"[{kind or 'data'}, {len(data):,} bytes{f', {uri}' if uri else ''}: not shown]")


def _repeats(text: str, structured: JsonValue) -> bool:
    try:
        said: Any = json.loads(text)
    except ValueError:
        return False
    if said == structured:
        return True
    # A bare value is wrapped in an object, and its text is not: {"result": 5} and "5".
    return isinstance(structured, dict) and set(structured) == {"result"} and said == structured["result"]
