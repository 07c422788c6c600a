"""Models by a name such as ``ollama:llama3.2``: `dev --model`, `init --model`, and entries of a plugin."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from handfast import ChatCompletionsModel, ResponsesModel
from handfast.cli import exits
from handfast.errors import DefinitionError, ModelClientMissingError
from handfast.models.named import named_model
from handfast.testing import Reply, ResponsesServer, call, text
from support.commands import Cli, MakeCli, finish, said
from support.warm_commands import Process

REFUND = Reply(call("refund", {"order": 8, "amount": 48.0}))
DONE = Reply(text("all done"))
TWO_AGENTS = """
from handfast import Agent, HandfastPlugin, ResponsesModel
from openai import AsyncOpenAI

models = {"default": AsyncOpenAI(base_url="http://127.0.0.1:9/v1", api_key="own")}
plugin = HandfastPlugin([Agent("desk", model="gpt-5.6"), Agent("far", model="other", client="far")], models=models)
"""


def host_of(model: ResponsesServer) -> str:
    """The server's address, as Ollama's own variable has it."""
    return model.base_url.removeprefix("http://").removesuffix("/v1")


def beside(cli: Cli, model: ResponsesServer) -> Cli:
    """The same command line, with a scripted Ollama at hand."""
    return cli.with_({"OLLAMA_HOST": host_of(model)})


async def left(dev: Process) -> str:
    """Press Ctrl-C, and return what it had to say on stderr."""
    dev.send_signal(signal.SIGINT)
    finished = await finish(dev)
    assert finished.code == exits.OK
    return finished.err


@pytest.mark.parametrize("reload", [False, True])
async def test_every_agent_asks_the_model_that_is_named(make_cli: MakeCli, reload: bool) -> None:
    """`dev --model` stands in for the models and the entries of all agents, those of a plugin's own included."""
    cli = make_cli(None)
    (cli.directory / "two.py").write_text(TWO_AGENTS)
    async with ResponsesServer([DONE, DONE], dialect="ollama") as model:
        here = beside(cli, model)
        flags = ["--reload"] if reload else []
        dev = await here.start("dev", "two", "--port", "0", "--model", "ollama:llama3.2", *flags)
        assert dev.stdout is not None
        assert (await dev.stdout.readline()).decode() == (
            "Every agent asks ollama:llama3.2, in place of its own model.\n"
        )
        await said(dev, "ready")
        for agent in ("desk", "far"):
            assert (await here("start", agent, "hello")).out == "all done\n"
        assert [request.model for request in model.created] == ["llama3.2", "llama3.2"]
        told = await left(dev)
    assert "the server at" in told
    assert "lists no model 'llama3.2'" in told


async def test_a_new_application_asks_the_model_that_is_named(make_cli: MakeCli) -> None:
    """`init --model` writes an application without a script, whose gated run goes by that model, and whose README says
    how."""
    cli = make_cli(None)
    made = await cli("init", "desk", "--model", "ollama:llama3.2:3b")
    assert (made.code, made.err) == (exits.OK, "")
    desk = cli.in_("desk")
    assert not (desk.directory / "script.json").exists()
    assert "The model is `ollama:llama3.2:3b`." in (desk.directory / "README.md").read_text()
    async with ResponsesServer([REFUND, DONE], dialect="ollama") as model:
        here = beside(desk, model)
        dev = await here.start("dev", "--port", "0")
        await said(dev, "ready")
        waiting = await here("start", "desk", "refund it", "--no-ask", "--json")
        assert (waiting.code, waiting.document["pending"][0]["tool"]) == (exits.WAITS, "refund")
        assert (await here("approve", waiting.document["pending"][0]["id"])).code == exits.OK
        await model.wait_for_end(2)
        assert {request.model for request in model.created} == {"llama3.2:3b"}
        assert await left(dev) == ""


async def test_a_server_that_is_not_there_is_named(make_cli: MakeCli) -> None:
    """`dev` serves all the same, and says what runs will wait for."""
    cli = make_cli(None)
    (cli.directory / "two.py").write_text(TWO_AGENTS)
    async with ResponsesServer([]) as gone:
        port = host_of(gone).rpartition(":")[2]
    here = cli.with_({"OLLAMA_HOST": f"0.0.0.0:{port}"})
    dev = await here.start("dev", "two", "--port", "0", "--model", "ollama:llama3.2")
    await said(dev, "ready")
    told = await left(dev)
    assert "note: no model server answers at http://127.0.0.1:" in told
    assert "/v1/; start it: runs wait for it" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["dev", "two", "--model", "llama3.2"], "name it as PROVIDER:MODEL", id="no-provider"),
        pytest.param(["dev", "two", "--model", "ollama:"], "name it as PROVIDER:MODEL", id="no-model"),
        pytest.param(["dev", "two", "--model", "nobody:m"], "knows no provider 'nobody'", id="nobody"),
        pytest.param(["dev", "two", "--model", "openrouter:m"], "set OPENROUTER_API_KEY", id="no-key"),
        pytest.param(["dev", "two", "--model", "openai:m"], "OPENAI_API_KEY", id="no-key-of-openai"),
        pytest.param(["dev", "--model", "ollama:m"], "--model needs agents", id="no-agents"),
        pytest.param(["init", "desk", "--model", "llama"], "for example ollama:llama3.2", id="init-without-provider"),
        pytest.param(["init", "desk", "--model", 'ollama:"'], "for example ollama:llama3.2", id="init-with-a-quote"),
    ],
)
async def test_a_wrong_name_is_one_line(make_cli: MakeCli, arguments: list[str], words: str) -> None:
    """Nothing is started or written."""
    pytest.importorskip("any_llm")
    cli = make_cli(None)
    (cli.directory / "two.py").write_text(TWO_AGENTS)
    refused = await cli(*arguments)
    assert refused.code not in (exits.OK, exits.BUG)
    assert words in refused.err
    assert len(refused.err.splitlines()) == 1
    assert not (cli.directory / "desk").exists()


@pytest.mark.parametrize(
    ("name", "environment", "kind", "address"),
    [
        pytest.param("ollama:m", {}, ResponsesModel, "http://127.0.0.1:11434/v1/", id="ollama"),
        pytest.param("ollama:m", {"OLLAMA_HOST": "0.0.0.0"}, ResponsesModel, "http://127.0.0.1:11434/v1/", id="any"),
        pytest.param("ollama:m", {"OLLAMA_HOST": "https://gpu:1/x/"}, ResponsesModel, "https://gpu:1/x/", id="url"),
        pytest.param("ollama:m", {"OLLAMA_HOST": "[::1]:7"}, ResponsesModel, "http://[::1]:7/v1/", id="ipv6"),
        pytest.param("lmstudio:m", {}, ResponsesModel, "http://127.0.0.1:1234/v1/", id="lmstudio"),
        pytest.param("vllm:m", {}, ResponsesModel, "http://127.0.0.1:8000/v1/", id="vllm"),
        pytest.param("llamacpp:m", {}, ChatCompletionsModel, "http://127.0.0.1:8080/v1/", id="llamacpp"),
        pytest.param(
            "openrouter:a/b:free",
            {"OPENROUTER_API_KEY": "k"},
            ResponsesModel,
            "https://openrouter.ai/api/v1/",
            id="openrouter",
        ),
    ],
)
async def test_servers_are_where_they_usually_are(
    monkeypatch: pytest.MonkeyPatch, name: str, environment: dict[str, str], kind: Any, address: str
) -> None:
    """Or where their own variable says."""
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    named = named_model(name)
    assert named.client is not None
    async with named.client:
        assert (type(named.port), named.address) == (kind, address)
        assert named.model == name.partition(":")[2]


async def test_openai_needs_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ModelClientMissingError):
        named_model("openai:m")
    with pytest.raises(DefinitionError, match="PROVIDER:MODEL"):
        named_model("openai")
