"""What would fail every run of an agent is refused when its worker starts, naming the agent."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import openai
import pytest
from temporalio.client import Client

from handfast import Agent, HandfastPlugin, ResponsesModel, RunContext, Tool, tool, web_search
from handfast.errors import DefinitionError, RunFailedError
from handfast.models.port import ModelAnswer, ModelRequest
from handfast.server import EmbeddedServer
from handfast.testing import Reply, text
from handfast.worker import make_worker
from support.labs import MakeLab


@pytest.fixture
async def client(server: EmbeddedServer) -> Client:
    """Of the shared server, without a plugin."""
    return await Client.connect(server.address)


def start(client: Client, *agents: Agent, default_model: str | None = None, **models: Any) -> None:
    """Make a worker, which is what `handfast worker` and `handfast dev` begin with."""
    made = models or {"default": openai.AsyncOpenAI(api_key="none")}
    make_worker(
        client,
        HandfastPlugin(agents, models=made, default_model=default_model),
        task_queue=f"never-served-{uuid.uuid4().hex}",
    )


async def test_an_agent_without_a_model_needs_a_default(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal names the agent, also one that another agent leads to, and the three ways to name a model."""
    monkeypatch.delenv("HANDFAST_MODEL", raising=False)
    silent = Agent("billing")
    with pytest.raises(
        DefinitionError, match=r"^agent 'billing': it names no model.*model=….*default_model=….*HANDFAST_MODEL"
    ):
        start(client, Agent("desk", model="m", handoffs=[silent]))
    start(client, silent, default_model="m")
    monkeypatch.setenv("HANDFAST_MODEL", "m")
    start(client, silent)


async def test_a_prompt_template_names_a_model_too(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent with a template of the provider's needs no other."""
    monkeypatch.delenv("HANDFAST_MODEL", raising=False)
    start(client, Agent("desk", prompt={"id": "pmpt_1"}))


async def test_an_agents_model_client_has_to_be_there(client: Client) -> None:
    """The refusal names the clients that the plugin has."""
    with pytest.raises(DefinitionError, match=r"^agent 'desk': there is no model client 'azure'; .* has default"):
        start(client, Agent("desk", model="m", client="azure"))


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("temprature", "did you mean 'temperature'?"),
        ("frequency_penalty", "put it into extra_body, or upgrade the client's package"),
    ],
)
async def test_a_setting_that_the_client_does_not_know_is_refused(client: Client, setting: str, hint: str) -> None:
    """The refusal names agent and setting, and the one that was meant."""
    with pytest.raises(DefinitionError) as refused:
        start(client, Agent("desk", model="m", model_settings={"temperature": 0.2, setting: 1}))
    assert str(refused.value) == f"agent 'desk': its model client knows no setting {setting!r} (model_settings); {hint}"


async def test_every_parameter_of_a_response_is_a_setting(client: Client) -> None:
    """As the `openai` package names them."""
    settings = {"temperature": 0.2, "reasoning": {"effort": "low"}, "parallel_tool_calls": False, "top_logprobs": 2}
    settings |= {"extra_headers": {"X-Team": "north"}, "extra_body": {"beam_width": 4}, "timeout": 60}
    start(client, Agent("desk", model="m", model_settings=settings))


class OwnPort:
    """A model port of a user's own, which says nothing of its settings."""

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Never asked here."""
        raise NotImplementedError


async def test_a_port_of_ones_own_takes_any_setting(client: Client) -> None:
    """Only a client that knows its settings can refuse one."""
    start(client, Agent("desk", model="m", model_settings={"beam_width": 4}), default=OwnPort())


async def test_a_tool_without_a_docstring_works_with_one_warning(
    make_lab: MakeLab, caplog: pytest.LogCaptureFixture
) -> None:
    """It is offered, and the worker says once, for all of them, that the model is told nothing of it."""

    @tool
    def silent(target: str) -> str:
        return target

    @tool(description="Say it.")
    def described(target: str) -> str:
        return target

    def other(target: str) -> str:
        return target

    with caplog.at_level(logging.WARNING, logger="handfast"):
        agents = [
            Agent("desk", model="m", tools=[silent, described, other]),
            Agent("billing", model="m", tools=[silent, Agent("auditor", model="m").as_tool()]),
        ]
        lab = await make_lab(agents, script=[Reply(text("done"))])
        assert (await (await lab.start("desk")).result()).output == "done"
    said = [record.getMessage() for record in caplog.records if "is told nothing of" in record.getMessage()]
    assert said == ["the model is told nothing of other, silent; give each a docstring, or description=…"]
    assert [each["name"] for each in lab.model.requests[0].body["tools"]] == ["silent", "described", "other"]


def many(number: int, prefix: str = "look", **options: Any) -> list[Tool]:
    """So many tools."""

    async def look(check: str) -> str:
        """Look at something."""
        return check

    return [tool(name=f"{prefix}_{each}", effect="read_only", **options)(look) for each in range(number)]


@pytest.mark.parametrize("extra", [1, 172])
async def test_more_tools_than_a_request_takes_are_refused(client: Client, extra: int) -> None:
    """The refusal says how many there are and how many a request takes; so many are taken."""
    start(client, Agent("desk", model="m", tools=many(128)))
    with pytest.raises(DefinitionError, match=rf"^agent 'desk': it offers {128 + extra} tools.* takes 128;"):
        start(client, Agent("desk", model="m", tools=many(128 + extra)))


async def test_whatever_a_request_offers_is_counted(client: Client) -> None:
    """Handoffs, agents used as tools and the provider's own tools are tools of a request too."""
    other = Agent("other", model="m")
    for agent in (
        Agent("desk", model="m", tools=many(128), handoffs=[other]),
        Agent("desk", model="m", tools=[*many(128), other.as_tool()]),
        Agent("desk", model="m", tools=[*many(128), web_search()]),
    ):
        with pytest.raises(DefinitionError, match="it offers 129 tools"):
            start(client, agent)
    with pytest.raises(DefinitionError, match="agent 'other': it offers 129 tools"):
        start(client, Agent("desk", model="m", handoffs=[Agent("other", model="m", tools=many(129))]))


async def test_a_model_entry_says_how_many_tools_it_takes(client: Client) -> None:
    """Servers beside OpenAI's take other numbers; a port of one's own that names none takes any."""
    openai_client = openai.AsyncOpenAI(api_key="none")
    agent = Agent("desk", model="m", tools=many(200))
    start(client, agent, default=ResponsesModel(openai_client, max_tools=None))
    start(client, agent, default=OwnPort())
    with pytest.raises(DefinitionError, match="takes 20;"):
        start(client, agent, default=ResponsesModel(openai_client, max_tools=20))


async def test_tools_with_a_rule_are_counted_when_they_are_offered(make_lab: MakeLab) -> None:
    """They may be offered in turn: only a request with too many of them at once ends its run, with both numbers."""

    def wanted(ctx: RunContext) -> bool:
        return ctx.labels.get("all") == "yes"

    agent = Agent("desk", model="m", tools=[*many(100), *many(29, "ask", enabled=wanted)])
    lab = await make_lab([agent], script=[Reply(text("done"))])
    assert (await (await lab.start("desk")).result()).output == "done"
    assert len(lab.model.requests[0].body["tools"]) == 100
    with pytest.raises(
        RunFailedError, match=r"agent desk offers 129 tools and handoffs now, and .* takes 128"
    ) as failed:
        await (await lab.start("desk", labels={"all": "yes"})).result()
    assert (failed.value.kind, len(lab.model.requests)) == ("ModelRefused", 1)
