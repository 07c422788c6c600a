"""docs/cli.md says what is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from typer.main import get_command

from handfast.cli import exits
from handfast.cli.app import app
from handfast.cli.application import Application

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def test_every_exit_code_is_documented() -> None:
    """The table of exit codes on the page is the one in the code, each by number and name."""
    documented = {name: int(code) for code, name in re.findall(r"^\| (\d+) \| `([A-Z_]+)`", PAGE, re.MULTILINE)}
    assert documented == {name: value for name, value in vars(exits).items() if isinstance(value, int)}


def test_every_command_is_documented() -> None:
    """The table of commands on the page names every command that there is, and none that is not."""
    documented = re.findall(r"^\| `handfast (\w+)", PAGE, re.MULTILINE)
    commands = getattr(get_command(app), "commands", {})
    assert sorted(documented) == sorted(commands)
    assert all(command.help for command in commands.values())


def test_the_table_of_an_application_is_documented() -> None:
    """The page's [tool.handfast] can be used as it stands, and leaves no key out."""
    [block] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    table = tomllib.loads(block)["tool"]["handfast"]
    assert table.keys() == Application.model_fields.keys()
    Application.model_validate(table)
