"""The shape of input items of custom tools and of what the provider runs itself."""

from __future__ import annotations

from typing import Final, TypeAlias

from handfast.testing.responses.values import Check, anything, array, boolean, mapping, nullable, one_of, strings, text

Shape: TypeAlias = tuple[str, dict[str, Check], tuple[str, ...]]
"""How the id begins, the check of each other field, and the required ones."""

_ENDED: Final = ("in_progress", "completed", "incomplete", "failed")
_SEARCHED: Final = one_of(*_ENDED, "searching")


def _action(value: object, param: str) -> None:
    one_of("search", "open_page", "find_in_page", "find")(mapping(value, param).get("type"), f"{param}.type")


def _each(*kinds: str) -> Check:
    def check(value: object, param: str) -> None:
        for index, entry in enumerate(array(value, param)):
            one_of(*kinds)(mapping(entry, f"{param}[{index}]").get("type"), f"{param}[{index}].type")

    return check


def _known(required: dict[str, Check], optional: dict[str, Check] | None = None) -> dict[str, Check]:
    return {"type": anything, **required, **(optional or {})}


_MCP_CALL: Final[dict[str, Check]] = {"server_label": text(), "name": text(), "arguments": text()}
_WEB: Final[dict[str, Check]] = {"action": _action, "status": _SEARCHED}
_FILE: Final[dict[str, Check]] = {"queries": strings(), "status": _SEARCHED}
_CODE: Final[dict[str, Check]] = {
    "code": nullable(text()),
    "container_id": text(),
    "outputs": nullable(_each("logs", "image")),
    "status": one_of(*_ENDED, "interpreting"),
}
_IMAGE: Final[dict[str, Check]] = {"result": nullable(text()), "status": one_of(*_ENDED, "generating")}
_IMAGE_FACTS: Final = ("action", "background", "output_format", "quality", "revised_prompt", "size")
_LIST: Final[dict[str, Check]] = {"server_label": text(), "tools": array}

HOSTED_ITEMS: Final[dict[str, Shape]] = {
    "web_search_call": ("ws", _known(_WEB), ("id", *_WEB)),
    "file_search_call": ("fs", _known(_FILE, {"results": nullable(array)}), ("id", *_FILE)),
    "code_interpreter_call": ("ci", _known(_CODE), ("id", *_CODE)),
    "image_generation_call": (
        "ig",
        _known(_IMAGE, {**dict.fromkeys(_IMAGE_FACTS, nullable(text())), "error": mapping, "svg_usage": mapping}),
        ("id", *_IMAGE),
    ),
    "mcp_list_tools": ("mcpl", _known(_LIST, {"error": nullable(text())}), ("id", *_LIST)),
    "mcp_call": (
        "mcp",
        _known(
            _MCP_CALL,
            {
                "output": nullable(text()),
                "error": anything,
                "approval_request_id": nullable(text()),
                "status": one_of(*_ENDED, "calling"),
            },
        ),
        ("id", *_MCP_CALL),
    ),
    "mcp_approval_request": ("mcpr", _known(_MCP_CALL), ("id", *_MCP_CALL)),
    "mcp_approval_response": (
        "mcpr",
        _known({"approval_request_id": text(), "approve": boolean}, {"reason": nullable(text())}),
        ("approval_request_id", "approve"),
    ),
}
"""Items that the provider made, and the answers to its questions."""
