"""For users' own tests: a strict scripted model, and a lab with a real server and a worker that can be killed.

Names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a test compares these with the table below, name by name
    from handfast.testing.deadline import (
        LabTimeoutError as LabTimeoutError,
    )
    from handfast.testing.lab import (
        Lab as Lab,
    )
    from handfast.testing.replaying import (
        fetch_histories as fetch_histories,
        replay as replay,
    )
    from handfast.testing.responses_server import (
        ResponsesServer as ResponsesServer,
    )
    from handfast.testing.script import (
        Compacted as Compacted,
        Delay as Delay,
        Drop as Drop,
        Fail as Fail,
        Gate as Gate,
        Hang as Hang,
        Pause as Pause,
        Reply as Reply,
        Script as Script,
        Usage as Usage,
        Verbatim as Verbatim,
        When as When,
        call as call,
        code_interpreter_item as code_interpreter_item,
        compaction as compaction,
        custom_call as custom_call,
        file_search_item as file_search_item,
        image_generation_item as image_generation_item,
        mcp_approval as mcp_approval,
        mcp_call_item as mcp_call_item,
        mcp_tools_item as mcp_tools_item,
        raw as raw,
        reasoning as reasoning,
        refusal as refusal,
        text as text,
        web_search_item as web_search_item,
    )

_HOMES = {
    "Compacted": "script",
    "Delay": "script",
    "Drop": "script",
    "Fail": "script",
    "Gate": "script",
    "Hang": "script",
    "Lab": "lab",
    "LabTimeoutError": "deadline",
    "Pause": "script",
    "Reply": "script",
    "ResponsesServer": "responses_server",
    "Script": "script",
    "Usage": "script",
    "Verbatim": "script",
    "When": "script",
    "call": "script",
    "code_interpreter_item": "script",
    "compaction": "script",
    "custom_call": "script",
    "fetch_histories": "replaying",
    "file_search_item": "script",
    "image_generation_item": "script",
    "mcp_approval": "script",
    "mcp_call_item": "script",
    "mcp_tools_item": "script",
    "raw": "script",
    "reasoning": "script",
    "refusal": "script",
    "replay": "replaying",
    "text": "script",
    "web_search_item": "script",
}
"""Where each public name is defined, below this package."""

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'handfast.testing' has no attribute {name!r}")
    value = getattr(import_module(f"handfast.testing.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
