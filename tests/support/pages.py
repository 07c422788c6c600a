"""Reads the pages of the documentation and runs what they show.

How a page is written so that its code runs as it stands:

- Python blocks of a page run in order, in one namespace; ``await`` may stand at the top level. The environment names a
  real server and a scripted model, so the code connects as a reader's would.
- A block that begins with ``# name.py`` is a file: it is written under that name into the page's folder, where later
  blocks import it. A file called ``test_….py`` is run by pytest, in a process of its own.
- A file that calls ``asyncio.run``, or uses `handfast.sync`, is a program: it is run by ``python name.py``, in a
  process of its own; one that serves is stopped by SIGTERM once it polls. One that holds the call back behind
  ``if __name__ == "__main__"`` is imported as well. ``<!-- prints: name.py -->`` before a text block says that the
  program printed exactly that; ``…`` stands for anything.
- ``<!-- model: Reply(…), Reply(…) -->`` before a block says what the model plays from there on; a name stands for an
  entry of `scripts.SCRIPTS`. A worker then serves the agents of the page's last file that has some, on the task queue
  ``agents``; ``<!-- model, no worker: … -->`` leaves that to the page.
- ``<!-- claude: … -->`` says likewise what Claude answers, at a server of Anthropic's API.
- ``<!-- payload: NAME -->`` before a JSON block says which payload it is.
- `TUTORIAL` is read in another way: see `support.terminals`.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

import openai
import pytest

from handfast import Agent, AnyLLMModel, testing
from handfast.connection import connect
from handfast.server import EmbeddedServer
from handfast.temporal.pollers import WORKFLOWS, pollers
from handfast.testing import ResponsesServer, Script
from handfast.testing.script import RecordedRequest, Step
from handfast.worker import load_plugin, make_worker
from support.anthropic_server import AnthropicServer
from support.scripts import SCRIPTS

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
TUTORIAL: Final = ROOT / "docs" / "tutorial.md"
BLOCK_S: Final = 30.0
TEST_FILE_S: Final = 120.0

_FENCE: Final = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]+)?[^`]*$")
_COMMENT: Final = re.compile(
    r"^\s*<!--\s*(?P<key>model|model, no worker|claude|payload|prints|terminal|exit):\s*(?P<value>.*?)\s*-->\s*$"
)
_FILE: Final = re.compile(r"^# (?P<name>[a-z_/]+\.(?:py|toml))$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        line: Of its first line of code, from 1.
        note: The comment right before it, as key and value.
    """

    path: Path
    line: int
    language: str
    source: str
    note: tuple[str, str] | None = None

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name of the file that the block shows, if it shows one."""
        found = _FILE.match(self.source.partition("\n")[0])
        return found["name"] if found else None

    @property
    def is_run(self) -> bool:
        """Whether the block is code, or what a program printed."""
        return self.language == "python" or (self.note is not None and self.note[0] == "prints")

    @property
    def is_program(self) -> bool:
        """Whether the file is run by ``python``."""
        return self.file is not None and ("asyncio.run(" in self.source or "from handfast.sync" in self.source)

    @property
    def is_worker(self) -> bool:
        """Whether the program serves until it is told to stop."""
        return self.is_program and "await serve(" in self.source

    @property
    def is_module(self) -> bool:
        """Whether the file may be imported."""
        return not self.is_program or "__main__" in self.source


def blocks_of(path: Path, language: str) -> list[Block]:
    """The page's blocks in one language; none where there is no such page (yet)."""
    return [block for block in blocks(path) if block.language == language] if path.exists() else []


def all_blocks(language: str) -> list[Block]:
    """Every page's blocks in one language."""
    return [block for path in PAGES for block in blocks_of(path, language)]


def blocks(path: Path) -> Iterator[Block]:
    """The page's blocks in order."""
    lines = path.read_text().split("\n")
    note: tuple[str, str] | None = None
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        fence = _FENCE.match(line)
        if fence is None:
            comment = _COMMENT.match(line)
            if comment is not None:
                note = comment["key"], comment["value"]
            elif line.strip():
                note = None
            continue
        indent = len(fence["indent"])
        end = next(at for at in range(number, len(lines)) if lines[at].strip() == "```")
        source = "\n".join(each[indent:] for each in lines[number:end]) + "\n"
        yield Block(path, number + 1, fence["language"] or "", source, note)
        number, note = end + 1, None


class Reader:
    """Reads one page at a time, as a person would: from the top, with a server and a model at hand."""

    def __init__(self, server: EmbeddedServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._page: Page | None = None

    async def run(self, block: Block) -> None:
        """Run *block*, and before it whatever of its page has not run yet."""
        if self._page is None or self._page.path != block.path:
            await self.close()
            folder = self._folder / block.path.stem
            folder.mkdir()
            self._page = Page(block.path, folder)
            await self._page.open(self._server)
        await self._page.run_through(block)

    async def close(self) -> None:
        """Close the page."""
        page, self._page = self._page, None
        if page is not None:
            await page.close()


class Page:
    """A page that is being read."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self._folder = folder
        self._left = [block for block in blocks(path) if block.is_run]
        self._printed: dict[str, str] = {}
        self._module = ModuleType(f"page_{path.stem}")
        self._play = Script().player()
        self._model = ResponsesServer(Script.of(self._choose))
        self._claude: AnthropicServer | None = None
        self._stack = AsyncExitStack()
        self._worker = AsyncExitStack()
        self._failed: Block | None = None
        self._clients: list[openai.AsyncOpenAI] = []
        self._agents: str | None = None

    async def open(self, server: EmbeddedServer) -> None:
        """Give the page a folder, an environment and a model."""
        await self._stack.enter_async_context(self._model)
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        if any(block.note is not None and block.note[0] == "claude" for block in self._left):
            self._claude = await self._stack.enter_async_context(AnthropicServer([]))
            patch.setenv("ANTHROPIC_BASE_URL", self._claude.base_url)
            patch.setenv("ANTHROPIC_API_KEY", "test")
        for name, value in {
            "TEMPORAL_ADDRESS": server.address,
            "OPENAI_BASE_URL": self._model.base_url,
            "OPENAI_API_KEY": "test",
            "HANDFAST_MODEL": "scripted",
        }.items():
            patch.setenv(name, value)
        self._stack.push_async_callback(self._close_clients)
        patch.setattr(openai.AsyncOpenAI, "__init__", self._remembering(openai.AsyncOpenAI.__init__))
        patch.syspath_prepend(str(self._folder))
        patch.chdir(self._folder)
        self._remember(self._module.__name__)
        sys.modules[self._module.__name__] = self._module

    def _remembering(self, make: Callable[..., None]) -> Callable[..., None]:
        """Make clients that the page closes at its end, as its programs live on in this process."""

        def init(client: openai.AsyncOpenAI, *args: Any, **options: Any) -> None:
            make(client, *args, **options)
            self._clients.append(client)

        return init

    async def _close_clients(self) -> None:
        for client in self._clients:
            await client.close()

    async def close(self) -> None:
        """Stop the page's worker and forget its modules."""
        await self._worker.aclose()
        await self._stack.aclose()

    async def run_through(self, block: Block) -> None:
        """Run every block that is left up to *block*."""
        while block in self._left:
            each = self._left.pop(0)
            if self._failed is None:
                self._failed = each
                async with asyncio.timeout(BLOCK_S if each.file is None else TEST_FILE_S):
                    await self._run(each)
                self._failed = None
        if self._failed is not None:
            pytest.fail(f"an earlier block of this page does not run: {self._failed}")

    async def _run(self, block: Block) -> None:
        key, value = block.note or ("", "")
        if key == "prints":
            printed = self._printed.get(value)
            assert printed is not None, f"{block}: no program {value} has run on this page"
            assert pattern_of(block.source).fullmatch(printed), f"{block}: {value} printed\n{printed}"
            return
        if key:
            self._play = _script(value if key != "claude" else "").player()
            await self._worker.aclose()
            if key == "claude":
                assert self._claude is not None
                self._claude.play(steps_of(value))
            if key in ("model", "claude"):
                await self._serve()
        if block.file is not None:
            await self._run_file(block, block.file)
        else:
            code = compile(
                "\n" * (block.line - 1) + block.source,
                str(block.path),
                "exec",
                flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
                dont_inherit=True,
            )
            await _execute(code, self._module)
        assert self._model.violations == []
        assert self._claude is None or self._claude.violations == []

    async def _run_file(self, block: Block, name: str) -> None:
        file = self._folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.source)
        if file.name.startswith("test_"):
            await _run_tests(file)
            return
        if block.is_worker:
            await _serves(sys.executable, name, folder=self._folder)
        elif block.is_program:
            self._printed[name] = await _printed_by(sys.executable, name, folder=self._folder)
        if not block.is_module:
            return
        module = name.removesuffix(".py").replace("/", ".")
        self._remember(module)
        importlib.invalidate_caches()
        named = vars(importlib.import_module(module))
        if any(isinstance(value, Agent) for value in named.values()):
            self._agents = module
        for entry in named.get("models", {}).values():
            if isinstance(entry, AnyLLMModel):
                self._stack.push_async_callback(entry.close)

    def _remember(self, module: str) -> None:
        """Put a module's namesake aside until the page is closed."""
        namesake = sys.modules.pop(module, None)

        def restore() -> None:
            sys.modules.pop(module, None)
            if namesake is not None:
                sys.modules[module] = namesake

        self._stack.callback(restore)

    async def _serve(self) -> None:
        assert self._agents is not None, "no file of this page has agents that a worker could serve"
        worker = make_worker(await connect(), load_plugin(self._agents), task_queue="agents")
        await self._worker.enter_async_context(worker)

    def _choose(self, request: RecordedRequest) -> Step | None:
        return self._play(request)


def _script(note: str) -> Script:
    return SCRIPTS[note] if note in SCRIPTS else Script(steps_of(note))


def steps_of(note: str) -> Sequence[Any]:
    """The steps that a note in a page writes down."""
    names = {name: getattr(testing, name) for name in testing.__all__}
    steps: Sequence[Any] = FunctionType(compile(f"({note},)" if note else "()", "<model>", "eval"), names)()
    return steps


async def _execute(code: CodeType, module: ModuleType) -> None:
    value = FunctionType(code, vars(module))()
    if asyncio.iscoroutine(value):
        await value


async def _run_tests(file: Path) -> None:
    await _printed_by(
        *(sys.executable, "-m", "pytest", "-q", "--rootdir", str(file.parent), "-p", "no:cacheprovider"),
        *("-W", "error", "-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function", str(file)),
        folder=file.parent,
    )


async def _printed_by(*command: str, folder: Path) -> str:
    """What a program prints that has to end well."""
    async with _process(*command, folder=folder) as process:
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def _serves(*command: str, folder: Path) -> None:
    """Run a worker until it polls, and tell it to stop."""
    client = await connect()
    async with _process(*command, folder=folder) as process:
        while not any(
            each.identity.startswith(f"{process.pid}@") for each in await pollers(client, "agents", WORKFLOWS)
        ):
            assert process.returncode is None, "the worker has ended"
            await asyncio.sleep(0.05)  # the server has no way to wait for a poller
        process.terminate()
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


@asynccontextmanager
async def _process(*command: str, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()


def pattern_of(shown: str) -> re.Pattern[str]:
    """What fits the output that a page shows: a line of ``…`` alone stands for lines, elsewhere it stands for text."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\s*\n" for line in shown.splitlines()
    ]
    return re.compile("".join(lines))
