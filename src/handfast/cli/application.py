"""The application of this folder, as `[tool.handfast]` in its pyproject.toml names it."""

from __future__ import annotations

import asyncio
import importlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from handfast.cli.exits import InputError
from handfast.errors import TargetError
from handfast.payloads.base import problems_of
from handfast.worker import load_plugin
from handfast.worker.plugin import HandfastPlugin
from handfast.worker.runner import import_failed

PROJECT: Final = "pyproject.toml"
TABLE: Final = "tool.handfast"


class FirstRun(BaseModel):
    """A run that `handfast dev` starts once."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    agent: str
    input: str


class Application(BaseModel):
    """Agents and workflows to serve.

    Attributes:
        agents: ``MODULE[:NAME]``.
        workflows: ``MODULE:NAME`` each: workflow classes to serve beside the agents.
        script: A file that plays the model in `handfast dev` where no OPENAI_API_KEY is set; relative to the folder.
        first_run: Started once by `handfast dev` while the script plays the model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    agents: str
    workflows: list[str] = []
    script: str | None = None
    first_run: FirstRun | None = None

    @model_validator(mode="after")
    def _first_run_is_scripted(self) -> Self:
        if self.first_run is not None and self.script is None:
            raise ValueError("first_run needs a script: no run is started that would be paid for")
        return self


@dataclass(frozen=True)
class Served:
    """An application as it was imported."""

    plugin: HandfastPlugin
    workflows: Sequence[type] = ()


def find_application(folder: Path) -> Application | None:
    """Read the table of *folder*; None where there is none.

    Raises:
        InputError: The file, or the table in it, cannot be used.
    """
    try:
        project = tomllib.loads((folder / PROJECT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{PROJECT} cannot be read: {error}") from None
    tools = project.get("tool")
    table = tools.get("handfast") if isinstance(tools, dict) else None
    if table is None:
        return None
    try:
        return Application.model_validate(table)
    except ValidationError as error:
        raise InputError(f"[{TABLE}] in {PROJECT}: {'; '.join(problems_of(error))}") from None


def import_application(application: Application) -> Served:
    """Import the agents and workflows that *application* names.

    Raises:
        TargetError: It is not there, or cannot be imported.
        DefinitionError: The agents cannot work.
    """
    plugin = import_agents(application.agents)
    return Served(plugin, [_workflow(target) for target in application.workflows])


def import_agents(target: str) -> HandfastPlugin:
    """Import the agents that *target* names.

    Raises:
        TargetError: There are none, or their module cannot be imported.
        DefinitionError: They cannot work.
    """
    module = target.partition(":")[0]
    if module.endswith(".py"):
        raise TargetError(target, f"name the module, not its file: {module.removesuffix('.py').replace('/', '.')}")
    try:
        return load_plugin(target)
    except (TargetError, asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise import_failed(target, error) from error


def _workflow(target: str) -> type:
    module, _, name = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise import_failed(target, error) from error
    if not isinstance(found, type) or not hasattr(found, "__temporal_workflow_definition"):
        raise TargetError(target, "it is no workflow; name a class with @workflow.defn as MODULE:NAME")
    return found
