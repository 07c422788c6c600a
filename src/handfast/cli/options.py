"""Options that several commands share, and functions that read their values."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import typer

from handfast.cli.exits import InputError
from handfast.errors import JsonProfileError, PayloadInvalidError
from handfast.payloads.json_profile import JsonObject, parse_json
from handfast.payloads.remember import Remember, RememberScope

USER: Final = "HANDFAST_USER"
TASK_QUEUE: Final = "agents"

Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Temporal's address. By default TEMPORAL_ADDRESS, the profile's, the server of `handfast dev` in this "
        "folder or above, or localhost:7233.",
    ),
]
Namespace = Annotated[str | None, typer.Option(help="By default TEMPORAL_NAMESPACE, the profile's, or 'default'.")]
Profile = Annotated[str | None, typer.Option(help="A profile of Temporal's configuration file.")]
Json = Annotated[bool, typer.Option("--json", help="Write exactly one JSON document to stdout.")]
TaskQueue = Annotated[
    str,
    typer.Option(envvar="HANDFAST_TASK_QUEUE", help="The queue that connects runs and their workers."),
]
By = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        envvar=USER,
        help="Who decides: a claimed name, unless HANDFAST_SIGNING_KEY signs for it. By default the OS user.",
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option("--run", metavar="RUN", help="Look in this run only: exact at once, and needs no search attributes."),
]

RememberOption = Annotated[
    list[str] | None,
    typer.Option(
        "--remember",
        metavar="WHAT",
        help="Answer later calls of the run likewise: 'arguments' (exactly these), 'tool' (any of this agent's tool), "
        "or match:PARAMETER='PATTERN', as in match:command='pytest *'.",
    ),
]
ScopeOption = Annotated[
    Literal["agent", "run"] | None,
    typer.Option("--scope", help="Whose calls --remember answers: this agent's (default), or every agent's."),
]
UsesOption = Annotated[
    int | None, typer.Option("--uses", min=1, help="How many further calls --remember answers at most.")
]
UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until", metavar="TIME", help="When --remember ends: a time with its offset, as in 2026-01-02T18:00Z."
    ),
]


@dataclass(frozen=True)
class Where:
    """The server that was named on the command line: it comes before environment and profile."""

    address: str | None
    namespace: str | None
    profile: str | None


def user(given: str | None) -> str:
    """Return the claimed name of whoever sits here."""
    if given:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under an id without a name
        return f"uid-{os.getuid()}"


def remembered(
    given: list[str] | None, scope: RememberScope | None, uses: int | None = None, until: str | None = None
) -> Remember | None:
    """Read ``--remember``, which may be given several times for several patterns, and how far it reaches.

    Raises:
        InputError: It is none, or too wide.
    """
    if not given:
        for option, value in (("--scope", scope), ("--uses", uses), ("--until", until)):
            if value is not None:
                raise InputError(f"{option} says how far --remember reaches; give both")
        return None
    patterns: dict[str, str] = {}
    for each in given:
        name, equals, pattern = each.removeprefix("match:").partition("=")
        if each.startswith("match:") and equals and name and name not in patterns:
            patterns[name] = pattern
        elif len(given) > 1 or each not in ("tool", "arguments"):
            raise InputError("--remember takes tool, arguments, or match:PARAMETER=PATTERN once per parameter")
    what: JsonObject = {"match": patterns} if patterns else {"for": given[0]}
    try:
        return Remember.from_wire({**what, "scope": scope or "agent", "uses": uses, "until": until})
    except PayloadInvalidError as error:
        raise InputError(f"--remember: {'; '.join(error.problems)}") from None


def json_object(option: str, text: str) -> JsonObject:
    """Read an option's JSON object.

    Raises:
        InputError: It is none.
    """
    try:
        value = parse_json(text)
    except JsonProfileError as error:
        raise InputError(f"{option} is not JSON: {error.problem}") from None
    if not isinstance(value, dict):
        raise InputError(f'{option} takes a JSON object, as in {{"target": "temp_files"}}')
    return value


def label_pairs(given: list[str]) -> dict[str, str]:
    """Read ``key=value`` options.

    Raises:
        InputError: One is not of that shape.
    """
    pairs: dict[str, str] = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise InputError(f"--label takes key=value, not {each!r}")
        pairs[key] = value
    return pairs
