"""Run one command as a process: report errors in one line, and leave with a code."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NoReturn

from typer import Exit, TyperException
from typer.main import get_command

from handfast.cli import exits
from handfast.cli.app import app
from handfast.cli.output import visible, warn, write_json

DEBUG: Final = "HANDFAST_DEBUG"


def run_and_leave(argv: Sequence[str]) -> NoReturn:
    """Run one command and end the process with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(list(argv))
    except BrokenPipeError:
        code = exits.CLOSED_PIPE
    except KeyboardInterrupt:
        code = exits.INTERRUPTED
    except asyncio.CancelledError:
        code = exits.TERMINATED
    leave(code)


def leave(code: int) -> NoReturn:
    """Flush what was written, and end at once.

    At an ordinary end the interpreter takes the SDK's native threads down in an order that aborts the process now and
    then (sdk-python #300); a command that did its work must not report 134.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            code = exits.CLOSED_PIPE
        except (OSError, ValueError):
            continue  # closed, or a full disk: there is nobody left to tell
    os._exit(code)


def _run(argv: list[str]) -> int:
    try:
        # Not by calling it: that turns a closed pipe into a bare code 1.
        command = get_command(app)
        with command.make_context("handfast", argv or ["--help"]) as context:
            code = command.invoke(context)
        return code if isinstance(code, int) else exits.OK
    except Exit as left:
        return left.exit_code
    except TyperException as error:
        return _refuse(argv, exits.BAD_INPUT, type(error).__name__, _usage(error))
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 the one place where nothing may pass: people read a line, not a traceback
        if os.environ.get(DEBUG):
            sys.stderr.write(visible("".join(traceback.format_exception(error))))
        from handfast.cli.explain import explain  # noqa: PLC0415 it loads Temporal's client

        code, text = explain(error)
        if code == exits.BUG and not os.environ.get(DEBUG):
            text = f"{text}; set {DEBUG}=1 to see where it comes from"
        return _refuse(argv, code, type(error).__name__, text)


def _usage(error: TyperException) -> str:
    text = error.format_message()
    command = getattr(getattr(error, "ctx", None), "command_path", "handfast")
    return text if "--help" in text else f"{text} (see `{command} --help`)"


def _refuse(argv: Sequence[str], code: int, kind: str, text: str) -> int:
    """Tell a person on stderr, and a program that asked for JSON on stdout."""
    with suppress(BrokenPipeError):
        warn(text)
    if "--json" in argv:
        write_json({"error": {"type": kind, "message": text, "exit": code}})
    return code
