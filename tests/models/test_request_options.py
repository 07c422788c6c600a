"""What developers may add to a model's requests: settings, headers, prompt templates, a filter, a provider's tools."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from handfast import Agent, ModelInput, RunContext, activity_tool, file_search, handoff, question, tool, web_search
from handfast.errors import DefinitionError, PayloadInvalidError, RunFailedError
from handfast.testing import Delay, Lab, Reply, call, file_search_item, text
from support.evidence import failed_tasks
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))
TEXTS: Any = ["x"]


def offered(lab: Lab, number: int) -> list[str]:
    """What a request offered to call."""
    return [each.get("name", each["type"]) for each in lab.model.requests[number - 1].body["tools"]]


async def test_anything_that_can_be_called_is_offered_only_while_its_rule_says_so(make_lab: MakeLab) -> None:
    """`enabled` of agent tools, handoffs, questions and existing activities is asked before each model call; one that
    raises leaves its tool out."""

    def later(context: RunContext[Any]) -> bool:
        return context.turn > 1

    async def never(context: RunContext[Any]) -> bool:
        raise LookupError("no such flag")

    @tool(effect="read_only")
    def look() -> str:
        """Look."""
        return "fine"

    clerk = Agent("clerk", model="m")
    agent = Agent(
        "desk",
        model="m",
        tools=[
            look,
            clerk.as_tool("ask_clerk", enabled=later),
            clerk.as_tool("never_asked", enabled=never),
            question(enabled=False),
            activity_tool("charge", enabled=later),
        ],
        handoffs=[handoff(clerk, enabled=later)],
    )
    lab = await make_lab([agent], script=[Reply(call("look", {}, "c1"), call("transfer_to_clerk", {}, "c2")), DONE])
    assert (await (await lab.start("desk")).result()).output == "done"
    assert offered(lab, 1) == ["look"]
    assert offered(lab, 2) == ["look", "ask_clerk", "charge", "transfer_to_clerk"]
    assert lab.model.requests[1].tool_outputs["c2"].startswith("Error: there is no tool 'transfer_to_clerk'")


async def test_a_providers_tool_is_passed_through_as_a_dict(make_lab: MakeLab) -> None:
    """A tool that the provider runs and Handfast does not know is offered word for word, beside others."""
    search = {"type": "web_search", "search_context_size": "low"}
    wiki = {
        "type": "mcp",
        "server_label": "wiki",
        "server_url": "https://wiki.example/mcp",
        "require_approval": "never",
    }
    agent = Agent("desk", model="m", tools=[search, wiki])
    lab = await make_lab([agent], script=[DONE])
    await (await lab.start("desk")).result()
    assert lab.model.requests[0].body["tools"] == [search, wiki]
    assert lab.model.violations == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        pytest.param({"name": "look"}, "a tool that is a dict needs a type", id="no-type"),
        pytest.param({"type": "function", "name": "f"}, "is run on your side; make it of a function", id="function"),
        pytest.param({"type": "local_shell"}, "is run on your side; shell_tool() and @tool do that", id="shell"),
        pytest.param({"type": "web_search", "x": object()}, "its options must be JSON", id="no-json"),
        pytest.param({"type": "mcp", "server_url": "https://x"}, "the name must be 1 to 64 letters", id="no-label"),
        pytest.param({1: 2}, "must have texts as keys", id="keys"),
    ],
)
def test_a_dict_that_is_no_providers_tool_is_refused(given: dict[Any, Any], says: str) -> None:
    """A dict without a type, or of a tool that waits for an output of this side, says so where it is written."""
    with pytest.raises(DefinitionError) as refused:
        Agent("desk", tools=[given])
    assert says in str(refused.value)


async def test_what_a_reply_holds_beside_is_asked_for(make_lab: MakeLab) -> None:
    """Options of hosted tools, `include` and `top_logprobs` end in the request's `include`, each once."""
    agent = Agent(
        "desk",
        model="m",
        tools=[web_search(sources=True), file_search(["vs_1"], results=True)],
        model_settings={"include": ["file_search_call.results"], "top_logprobs": 2},
    )
    lab = await make_lab([agent], script=[Reply(file_search_item("fans"), text("found"))])
    await (await lab.start("desk")).result()
    body = lab.model.requests[0].body
    assert sorted(body["include"]) == [
        "file_search_call.results",
        "message.output_text.logprobs",
        "reasoning.encrypted_content",
        "web_search_call.action.sources",
    ]
    assert body["top_logprobs"] == 2
    assert [set(each) - {"type"} for each in body["tools"]] == [set(), {"vector_store_ids"}]
    assert lab.model.violations == []


@pytest.mark.parametrize("stream", [False, True])
async def test_headers_query_and_body_of_its_own_are_sent(make_lab: MakeLab, stream: bool) -> None:
    """`extra_headers`, `extra_query` and `extra_body` mean what they mean to the client; None takes a header away."""
    settings = {
        "extra_headers": {"X-Team": "desk", "User-Agent": None},
        "extra_query": {"api-version": "7"},
        "extra_body": {"prompt_cache_key": "desk"},
        "temperature": 0.5,
    }
    lab = await make_lab([Agent("desk", model="m", model_settings=settings)], script=[DONE])
    await (await lab.start("desk", stream=stream)).result()
    [request] = lab.model.requests
    assert (request.headers["x-team"], request.query) == ("desk", {"api-version": "7"})
    assert "user-agent" not in request.headers or "OpenAI" not in request.headers["user-agent"]
    assert (request.body["prompt_cache_key"], request.body["temperature"]) == ("desk", 0.5)
    assert not {"extra_headers", "extra_query", "extra_body", "timeout"} & request.body.keys()
    assert lab.model.violations == []


async def test_a_timeout_of_its_own_ends_a_request(make_lab: MakeLab) -> None:
    """`timeout` is how long the provider may take, in seconds; then the call is tried again."""
    agent = Agent("desk", model="m", model_settings={"timeout": 0.2})
    lab = await make_lab([agent], script=[Delay(30, DONE), DONE])
    assert (await (await lab.start("desk")).result()).output == "done"
    assert [request.state for request in lab.model.requests] == ["client_closed", "answered"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        pytest.param({"extra_headers": ["a"]}, "model_settings['extra_headers'] must be a dict, not a list", id="list"),
        pytest.param(
            {"extra_headers": {"a": 5}},
            "model_settings['extra_headers']['a'] must be a text or None, not a int",
            id="number",
        ),
        pytest.param({"extra_body": {"input": "x"}}, "must not hold input: Handfast sets it", id="owned"),
        pytest.param({"timeout": "5"}, "must be a positive number of seconds, not a str", id="timeout"),
        pytest.param({"include": "sources"}, "model_settings['include'] must be a list of texts", id="include"),
        pytest.param({"prompt": {"id": "p"}}, "give prompt as an option or in model_settings", id="prompt-twice"),
    ],
)
def test_settings_that_cannot_be_sent_are_refused_where_they_are_written(settings: dict[str, Any], says: str) -> None:
    """The error names the agent and the setting."""
    with pytest.raises(DefinitionError) as refused:
        Agent("desk", model_settings=settings, prompt={"id": "p"})
    assert says in str(refused.value)
    assert str(refused.value).startswith("agent 'desk': ")


async def test_a_prompt_template_may_depend_on_the_run(make_lab: MakeLab) -> None:
    """A function of the run context says which template of the provider's, with which variables; where the agent names
    no model the template does."""

    def template(context: RunContext[Any]) -> Mapping[str, Any]:
        return {"id": "pmpt_1", "variables": {"customer": context.labels["customer"], "turn": str(context.turn)}}

    @tool(effect="read_only")
    def look() -> str:
        """Look."""
        return "fine"

    agents = [
        Agent("desk", prompt=template, tools=[look]),
        Agent("fixed", model="m", prompt={"id": "pmpt_2", "version": "3"}),
    ]
    lab = await make_lab(agents, script=[Reply(call("look", {}, "c1")), DONE, DONE])
    result = await (await lab.start("desk", labels={"customer": "ann"})).result()
    await (await lab.start("fixed")).result()
    bodies = [request.body for request in lab.model.requests]
    assert [body["prompt"] for body in bodies] == [
        {"id": "pmpt_1", "variables": {"customer": "ann", "turn": "1"}},
        {"id": "pmpt_1", "variables": {"customer": "ann", "turn": "2"}},
        {"id": "pmpt_2", "version": "3"},
    ]
    assert [body.get("model") for body in bodies] == [None, None, "m"]
    assert result.usage.requests == 2
    assert lab.model.violations == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(lambda: 1 / 0, "the prompt of desk raised ZeroDivisionError", id="raises"),
        pytest.param(lambda: "pmpt_1", "must be a dict with an id, not the text 'pmpt_1'", id="text"),
        pytest.param(lambda: {"version": "1"}, "its id must be a text that is not empty, not None", id="no-id"),
        pytest.param(lambda: {"id": "p", "input": []}, "has 'input'; it may have id, version, variables", id="more"),
    ],
)
async def test_a_prompt_that_gives_none_ends_the_run_with_a_reason(make_lab: MakeLab, answer: Any, says: str) -> None:
    """The run fails once, before any request, and says what the function did."""
    lab = await make_lab([Agent("desk", prompt=lambda context: answer())])
    run = await lab.start("desk")
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert (failed.value.kind, lab.model.requests) == ("PromptFailed", [])
    assert says in failed.value.message


async def test_a_filter_sees_all_that_is_sent_and_changes_it(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """Before each model call the filter may leave items out and change the instructions; the transcript keeps all, a
    call is sent with its output or not at all, and what the filter does to the items stays with this request."""

    @tool(effect="read_only")
    def look(secret: str) -> str:
        """Look."""
        return f"{secret} found"

    async def mask(context: RunContext[Any], given: ModelInput) -> ModelInput:
        effects.append(f"{context.turn}: {len(given.items)}")
        kept = [item for item in given.items if "c2" not in (item.get("call_id"), item.get("id"))]
        for item in kept:
            if item.get("type") == "function_call_output":
                item["output"] = item["output"].replace("4711", "…")
        return ModelInput(kept, f"{given.instructions} Turn {context.turn}.")

    def without_output(context: RunContext[Any], given: ModelInput) -> ModelInput:
        return ModelInput([item for item in given.items if item.get("type") != "function_call_output"], "")

    agents = [
        Agent("desk", instructions="Help.", model="m", tools=[look], input_filter=mask),
        Agent("torn", model="m", tools=[look], input_filter=without_output),
    ]
    calls = Reply(call("look", {"secret": "4711"}, "c1"), call("look", {"secret": "x"}, "c2"))
    lab = await make_lab(agents, script=[calls, DONE, calls, DONE], max_cached_workflows=cache)
    run = await lab.start("desk", "go")
    await run.result()
    assert [request.instructions for request in lab.model.requests] == ["Help. Turn 1.", "Help. Turn 2."]
    assert lab.model.requests[1].tool_outputs == {"c1": "… found"}
    assert effects == ["1: 1", "2: 5"]
    assert "4711 found" in json.dumps(await run.transcript())
    await (await lab.start("torn", "go")).result()
    assert [item.get("role") for item in lab.model.requests[3].body["input"]] == ["user"]
    assert lab.model.violations == []
    assert await failed_tasks(lab, run) == 0


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(lambda given: 1 / 0, "raised ZeroDivisionError", id="raises"),
        pytest.param(lambda given: None, "returned NoneType, not a ModelInput", id="none"),
        pytest.param(lambda given: ModelInput([], ""), "returned nothing that a model could read", id="nothing"),
        pytest.param(lambda given: ModelInput(TEXTS, ""), "returned items that are no dicts", id="texts"),
        pytest.param(lambda given: ModelInput([{"x": object()}], ""), "returned what is not JSON", id="no-json"),
    ],
)
async def test_without_the_filters_answer_nothing_is_sent(make_lab: MakeLab, answer: Any, says: str) -> None:
    """A filter that raises or gives nothing ends the run: the model must not see what it would have left out."""
    lab = await make_lab([Agent("desk", model="m", input_filter=lambda context, given: answer(given))])
    run = await lab.start("desk", "go")
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert (failed.value.kind, lab.model.requests) == ("InputFilterFailed", [])
    assert says in failed.value.message


async def test_a_run_may_have_a_model_and_settings_of_its_own(make_lab: MakeLab, cache: int) -> None:
    """They go before those of every agent of the run, nested ones and those handed over to included, also on another
    worker; None takes a setting away, and the next run has none of it."""

    @tool(approval=True)
    def sign() -> str:
        """Sign."""
        return "signed"

    clerk = Agent("clerk", model="small", model_settings={"temperature": 1})
    billing = Agent("billing", model="other", tools=[sign])
    desk = Agent(
        "desk",
        model="m",
        model_settings={"temperature": 0.5, "max_output_tokens": 100, "extra_headers": {"X-Team": "desk"}},
        tools=[clerk.as_tool()],
        handoffs=[billing],
    )
    script = [
        Reply(call("clerk", {"input": "go"}, "c1")),
        Reply(text("well")),
        Reply(call("transfer_to_billing", {}, "c2")),
        Reply(call("sign", {}, "c3")),
        DONE,
        DONE,
    ]
    lab = await make_lab([desk], script=script, max_cached_workflows=cache)
    own = {"temperature": None, "top_p": 0.1, "extra_headers": {"X-Run": "1"}}
    run = await lab.start("desk", "go", model="cheap", model_settings=own)
    request = await lab.next_request(run)
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    result = await run.result()
    plain = await (await lab.start("desk", "go")).result()
    sent = [request for request in lab.model.requests if request.path.endswith("/responses")]
    assert [each.body["model"] for each in sent] == ["cheap"] * 5 + ["m"]
    assert [each.body.get("temperature") for each in sent] == [None] * 5 + [0.5]
    assert [each.body.get("top_p") for each in sent] == [0.1] * 5 + [None]
    assert [each.body.get("max_output_tokens") for each in sent] == [100, None, 100, None, None, 100]
    assert ["x-run" in each.headers for each in sent] == [True] * 5 + [False]
    assert {each.model for each in result.by_request} == {"cheap"}
    assert [each.model for each in plain.by_request] == ["m"]
    assert lab.model.violations == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param({"model": ""}, "model: ", id="no-name"),
        pytest.param({"model_settings": {"input": "x"}}, "must not hold input: Handfast sets it", id="owned"),
        pytest.param({"model_settings": {"timeout": "5"}}, "must be a positive number of seconds", id="timeout"),
        pytest.param({"model_settings": {"text": {"format": {}}}}, "an agent's output_type sets it", id="format"),
        pytest.param({"model_settings": {"user": "x" * 40_000}}, "may take 32,768 bytes", id="size"),
        pytest.param({"model_settings": {"user": object()}}, "must be JSON", id="no-json"),
    ],
)
async def test_a_run_that_cannot_be_asked_so_is_not_started(
    make_lab: MakeLab, options: dict[str, Any], says: str
) -> None:
    """Settings of one run are refused where the run is started."""
    lab = await make_lab([Agent("desk", model="m")])
    with pytest.raises(PayloadInvalidError) as refused:
        await lab.start("desk", "go", **options)
    assert says in str(refused.value)


async def test_a_session_keeps_its_model(make_lab: MakeLab) -> None:
    """Every message of a session that was begun with a model of its own is answered by that."""
    lab = await make_lab([Agent("desk", model="m")], script=[DONE, DONE])
    session = lab.hf.session(f"s-{uuid.uuid4().hex[:8]}", agent="desk", model="cheap", model_settings={"top_p": 0.5})
    for message in ("one", "two"):
        await (await session.send(message)).output(timeout=timedelta(seconds=30))
    assert [(each.model, each.body["top_p"]) for each in lab.model.requests] == [("cheap", 0.5)] * 2
