"""Resolves the secrets of a tool, in the worker and right before its function runs."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from handfast.activities.runtime.redaction import hide
from handfast.activities.runtime.user_code import Problem, ask
from handfast.definitions.secret import Secret, SecretParameter, SecretResolver
from handfast.definitions.tools.mcp import McpServer
from handfast.errors import McpUnavailableError, SecretMissingError, SecretUnavailableError

logger = logging.getLogger(__name__)

LARGEST_BYTES: Final = 64 * 1024
SERVER_S: Final = 10.0
"""Limit of time for each secret of an MCP server."""
MISSING: Final = (LookupError, FileNotFoundError)
"""Exceptions by which a resolver says that there is no such secret."""


async def resolved(
    tool: str,
    parameters: Sequence[SecretParameter],
    resolver: SecretResolver | None,
    within_s: float,
    threads: Executor,
) -> dict[str, Any]:
    """Return the values by parameter; outputs, errors and logs of the call hide them from then on.

    Raises:
        SecretMissingError: There is no such secret.
        SecretUnavailableError: Whoever keeps it did not answer, or raised.
    """
    try:
        async with asyncio.timeout(within_s):
            values = {each.name: await _value(tool, each.reference, resolver, within_s, threads) for each in parameters}
    except TimeoutError:
        raise SecretUnavailableError(tool, f"a secret did not come within {within_s:.1f} s") from None
    hide(values.values())
    return {each.name: values[each.name] if each.plain else SecretStr(values[each.name]) for each in parameters}


async def resolved_for_server(
    server: McpServer, resolver: SecretResolver | None, threads: Executor
) -> dict[Secret, str]:
    """Return the values of the secrets that an MCP server is reached with.

    Raises:
        McpUnavailableError: One of them is not there, or whoever keeps it did not answer.
    """
    values: dict[Secret, str] = {}
    try:
        for each in server.secrets:
            values[each] = await _value(server.name, each.reference, resolver, SERVER_S, threads)
    except SecretMissingError:
        raise McpUnavailableError(server.name, f"needs {each.reference}, which is missing on this worker") from None
    except SecretUnavailableError as error:
        raise McpUnavailableError(server.name, f"needs a secret: {error.problem}") from None
    return values


async def _value(tool: str, reference: str, resolver: SecretResolver | None, within_s: float, threads: Executor) -> str:
    scheme, _, rest = reference.partition(":")
    if scheme == "env" and rest in os.environ:
        return os.environ[rest]
    if scheme == "file":
        return await asyncio.to_thread(_of_file, tool, reference, Path(rest))
    if scheme == "env" or resolver is None:
        raise SecretMissingError(tool, reference)
    name = f"the resolver of the secret {reference}"
    value = await ask(resolver, reference, name=name, within=within_s, threads=threads, then=f"{tool} does not run")
    if isinstance(value, Problem):  # its message may quote the secret: only the exception's kind is told
        if isinstance(value.raised, MISSING):
            raise SecretMissingError(tool, reference)
        raise SecretUnavailableError(tool, f"{reference}: the resolver {value.brief}")
    if not isinstance(value, str):
        raise SecretUnavailableError(tool, f"{reference}: the resolver answered no text")
    return value


def _of_file(tool: str, reference: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_BYTES).decode().removesuffix("\n")
    except (OSError, UnicodeDecodeError):
        raise SecretMissingError(tool, reference) from None
