"""A server of the older protocol, written by hand, that does one thing wrong: started as ``crooked.py FAULT [LOG]``.

Each call that reaches it is a line of LOG, and so is a cancel.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

FAULT = sys.argv[1]
LOG = Path(sys.argv[2]) if len(sys.argv) > 2 else None


def tool(name: str, schema: Any = None, **more: Any) -> dict[str, Any]:
    """A tool that only reads."""
    schema = {"type": "object", "properties": {}} if schema is None else schema
    return {"name": name, "inputSchema": schema, "annotations": {"readOnlyHint": True}, **more}


def tools() -> list[Any]:
    """What it lists."""
    look = tool("look")
    match FAULT:
        case "many":
            return [tool(f"tool_{place}") for place in range(300)]
        case "changes":
            return [tool("look", description=f"as it was listed at {time.monotonic_ns()}")]
        case "twins":
            return [look, tool("twin", description="one"), tool("twin", description="another")]
        case "alike":
            return [look, tool("a.b"), tool("a/b")]
        case "schemas":
            bad: list[Any] = [{"type": "string"}, {"type": "object", "properties": {"a": {"type": "nonsense"}}}]
            return [look, *(tool(f"bad_{place}", schema) for place, schema in enumerate(bad))]
        case "huge_definition":
            return [look, tool("huge", description="x" * 100_000)]
        case "nonsense":
            return [look, {"name": 7}, 5, {"name": "no_schema"}]
    return [look]


def answer(message: dict[str, Any]) -> dict[str, Any] | None:
    """What it answers; None is nothing."""
    match message.get("method"):
        case "initialize":
            result: dict[str, Any] = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "crooked", "version": "1"},
            }
        case "tools/list":
            if FAULT == "endless_list":
                return {"result": {"tools": tools(), "nextCursor": f"{time.monotonic_ns()}"}}
            result = {"tools": tools()}
        case "tools/call":
            if LOG is not None:
                with LOG.open("a") as log:
                    log.write(f"{message['params']['name']}\n")
            if FAULT == "asks":
                told = [elicited(f"{which}?") for which in ("Why", "How")]
                return {"result": {"content": [{"type": "text", "text": json.dumps(told)}]}}
            if FAULT == "dies_once" and LOG is not None and len(LOG.read_text().splitlines()) == 1:
                os._exit(3)
            if FAULT == "no_result":
                return {"result": {"content": "none"}}
            large = "x" * 5_000_000 if FAULT == "large" else "fine"
            result = {"content": [{"type": "text", "text": large}]}
        case "ping":
            result = {}
        case _:
            return {"error": {"code": -32601, "message": "no such method"}}
    return {"result": result}


def elicited(message: str) -> Any:
    """Ask the client something, and answer what it asks meanwhile; return its answer."""
    form = {"type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"]}
    asked = {"id": message, "method": "elicitation/create", "params": {"message": message, "requestedSchema": form}}
    write(json.dumps({"jsonrpc": "2.0", **asked}))
    while True:
        came = json.loads(sys.stdin.readline())
        if came.get("id") == message:
            return came["result"]
        if came.get("method") == "notifications/cancelled" and LOG is not None:
            with LOG.open("a") as log:
                log.write("cancelled\n")
            return None
        if "id" in came and (said := answer(came)) is not None:
            write(json.dumps({"jsonrpc": "2.0", "id": came["id"], **said}))


def write(line: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until stdin ends."""
    match FAULT:
        case "hangs":
            sys.stdin.read()
        case "ends":
            sys.exit("no licence was found")
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        if FAULT == "noise":
            write("DEBUG: got a message\n{not json}")
        if (said := answer(message)) is not None:
            write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **said}))


main()
