"""Give a namespace the search attributes by which runs are found."""

from __future__ import annotations

import shlex

from handfast.cli import exits
from handfast.cli.options import Where
from handfast.cli.output import one_line, say, write_json
from handfast.cli.place import quiet_core
from handfast.connection import connect, connect_config
from handfast.payloads.search_attributes import SEARCH_ATTRIBUTES
from handfast.temporal.namespace import register_search_attributes


def show_commands(where: Where, *, as_json: bool) -> int:
    """Print the commands that somebody with the rights may run; ask no server."""
    namespace = where.namespace or connect_config(where.address, where.profile).get("namespace", "default")
    commands = [
        f"temporal operator search-attribute create --namespace {shlex.quote(namespace)} --name {name} --type {kind}"
        for name, kind in SEARCH_ATTRIBUTES.items()
    ]
    if as_json:
        write_json({"namespace": namespace, "commands": commands})
    else:
        for command in commands:
            say(command)
    return exits.OK


async def register(where: Where, *, as_json: bool) -> int:
    """Register what is missing."""
    quiet_core()
    client = await connect(where.address, profile=where.profile, namespace=where.namespace)
    registered = await register_search_attributes(client)
    if as_json:
        write_json({"namespace": client.namespace, "registered": dict(registered)})
    elif registered:
        say(one_line(f"registered in namespace {client.namespace}: {', '.join(registered)}"))
    else:
        say(one_line(f"namespace {client.namespace} has them all; nothing to do"))
    return exits.OK
