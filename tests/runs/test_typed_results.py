"""Type checkers know an answer's type where the code that asks knows the agent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
from typing import Annotated, Any, Literal, assert_type

from pydantic import BaseModel, Field

from handfast import Agent, AgentRef, Handfast, HandfastPlugin, Run, RunResult, Session
from handfast.payloads.json_profile import JsonValue
from handfast.sync import Handfast as BlockingHandfast


class Forecast(BaseModel):
    degrees: int


forecaster = Agent("forecaster", output_type=Forecast)
either = Agent("either", output_type=int | str)
many = Agent("many", output_type=list[Forecast], handoffs=[forecaster, either])
choice = Agent("choice", output_type=Literal["a", "b"])
bounded = Agent("bounded", output_type=Annotated[int, Field(gt=0)])
plain = Agent("plain", instructions="Talk.")
several = [forecaster, either, plain]
plugin = HandfastPlugin(several)


def first(agents: list[Agent]) -> Agent:
    return agents[0]


def later(run: Run, session: Session) -> None: ...


async def main(hf: Handfast) -> None:
    run = await hf.start(forecaster, "Tomorrow?")
    assert_type(run, Run[Forecast])
    assert_type(await run.result(), RunResult[Forecast])
    assert_type((await run.result(items=True)).output.degrees, int)
    assert_type((await run.result(output_type=int)).output, int)
    assert_type((await (await hf.start(either, "?")).result()).output, int | str)
    assert_type((await (await hf.start(many, "?")).result()).output, list[Forecast])
    assert_type((await (await hf.start(choice, "?")).result()).output, Literal["a", "b"])
    assert_type((await (await hf.start(bounded, "?")).result()).output, int)
    assert_type((await (await hf.start(plain, "?")).result()).output, Any)
    assert_type((await (await hf.start("plain", "?")).result()).output, Any)
    assert_type((await hf.run("r").result()).output, Any)
    assert_type((await (await hf.start(AgentRef("f", output_type=Forecast), "?")).result()).output, Forecast)
    assert_type((await (await hf.start(AgentRef("f"), "?")).result()).output, JsonValue)
    session = hf.session("s", agent=forecaster)
    assert_type(await (await session.send("Tomorrow?")).output(), Forecast)
    assert_type((await session.turn("m").result()).output, Forecast)
    assert_type(await session.turn("m").output(output_type=int), int)
    later(run, session)
    first([forecaster, plain])


def script(hf: BlockingHandfast) -> None:
    assert_type(hf.start(forecaster, "Tomorrow?").result().output, Forecast)
    assert_type(hf.session("s", agent=forecaster).send("Tomorrow?").output(), Forecast)
"""


def test_an_answer_has_the_type_of_its_agent(tmp_path: Path) -> None:
    """`mypy --strict` takes the output of a run, and of a session's turn, for the `output_type` of the agent that was
    started, awaited or not; by a name alone it is anything."""
    (tmp_path / "program.py").write_text(PROGRAM)
    options = ("--config-file", "", "--cache-dir", str(ROOT / ".mypy_cache"), "--strict")
    command = [sys.executable, "-m", "mypy", *options, "program.py"]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
