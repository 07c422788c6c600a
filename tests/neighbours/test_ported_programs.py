"""Programs as users of openai-agents write them, with the names of docs/coming-from.md in place of theirs."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field

from handfast import (
    Agent,
    AgentHooks,
    FinalOutput,
    Image,
    ModelInput,
    RunContext,
    ToolResult,
    file_search,
    image_generation,
    tool,
    web_search,
)
from handfast.definitions.agents.hooks import AgentEnd, AgentStart, HandoffTaken, ToolEnd
from handfast.testing import Reply, call, file_search_item, image_generation_item, text, web_search_item
from support.labs import MakeLab

WAIT = timedelta(seconds=30)
PIXEL = base64.b64encode(b"a very small picture").decode()


class Member(BaseModel):
    plan: str = "basic"


class Forecast(BaseModel):
    city: str
    sky: str


class Doubled(BaseModel):
    number: int


@dataclass
class Verdict:
    feedback: str
    score: Literal["pass", "again"]


@dataclass
class Riddles:
    by_number: dict[int, str]


class Phrase(BaseModel):
    text: str = Field(description="The phrase to put into another language.")
    target: str = "fr"


@tool(effect="read_only")
def forecast(city: str) -> Forecast:
    """Tell the weather."""
    return Forecast(city=city, sky="clear")


def has_plan(*plans: str) -> Any:
    """A rule of the run's context."""

    def rule(ctx: RunContext[Member]) -> bool:
        return ctx.context.plan in plans

    return rule


async def test_agents_are_offered_by_what_the_run_knows(make_lab: MakeLab) -> None:
    """Agents as tools that an `is_enabled` of the context offers, one of them under approval, with typed parameters."""
    french = Agent(name="french", instructions="Answer in French.", model="m")
    dutch = Agent(name="dutch", instructions="Answer in Dutch.", model="m")
    desk = Agent(
        name="desk",
        instructions="Use every tool that you have.",
        model="m",
        model_settings={"tool_choice": "required"},
        tools=[
            french.as_tool("say_in_french", "Answer in French.", parameters=Phrase, approval=True),
            dutch.as_tool("say_in_dutch", "Answer in Dutch.", enabled=has_plan("plus", "premium")),
        ],
        context_type=Member,
    )
    script = [Reply(call("say_in_french", {"text": "good morning", "target": None})), Reply(text("bonjour"))]
    lab = await make_lab([desk, french, dutch], script=[*script, Reply(text("bonjour!"))])
    run = await lab.start(desk, "How do they say good morning?", context=Member())
    async for request in run.requests():
        assert (request.tool, request.arguments) == ("say_in_french", {"text": "good morning", "target": None})
        await run.approve(request, decided_by="ana")
        break
    assert (await run.result()).output == "bonjour!"
    assert lab.model.requests[0].tool_names == ["say_in_french"]


class Told(AgentHooks):
    """Write down what happens, with what was spent by then."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def on_agent_start(self, context: Any, start: AgentStart) -> None:
        self.lines.append(f"{context.agent} started")

    async def on_agent_end(self, context: Any, end: AgentEnd) -> None:
        self.lines.append(f"{context.agent} ended with {end.output}")

    async def on_tool_end(self, context: Any, end: ToolEnd) -> None:
        self.lines.append(f"{context.tool} gave {end.output}")

    async def on_handoff(self, context: Any, handoff: HandoffTaken) -> None:
        self.lines.append(f"{handoff.by} to {handoff.to}")


async def test_the_life_of_a_run_is_told_to_its_hooks(make_lab: MakeLab) -> None:
    """`RunHooks` for all agents of the worker: starts, tools, a handoff and the end, in their order."""
    told = Told()

    @tool(effect="read_only")
    def pick(limit: int) -> int:
        """Pick a number."""
        return limit - 1

    @tool(effect="read_only")
    def double(x: int) -> int:
        """Return x times two."""
        return x * 2

    doubler = Agent(name="doubler", model="m", tools=[double], output_type=Doubled)
    starter = Agent(name="starter", model="m", tools=[pick], output_type=Doubled, handoffs=[doubler])
    script = [
        Reply(call("pick", {"limit": 8})),
        Reply(call("transfer_to_doubler", {})),
        Reply(call("double", {"x": 7})),
        Reply(text('{"number": 14}')),
    ]
    lab = await make_lab([starter, doubler], script=script, hooks=[told])
    result = await (await lab.hf.start(starter, "Between 0 and 8.")).result()
    assert result.output == Doubled(number=14)
    assert told.lines == [
        "starter started",
        "pick gave 7",
        "starter to doubler",
        "doubler started",
        "double gave 14",
        "doubler ended with {'number': 14}",
    ]


async def test_what_the_providers_tools_found_is_among_the_items(make_lab: MakeLab) -> None:
    """Searches with filters and included results, and an image, are read from the finished run."""
    finder = Agent(
        name="finder",
        model="m",
        tools=[
            web_search(sources=True, filters={"allowed_domains": ["example.org"]}, search_context_size="medium"),
            file_search(["vs_1"], results=True, max_num_results=3),
            image_generation(quality="low"),
        ],
        model_settings={
            "reasoning": {"effort": "low"},
            "text": {"verbosity": "low"},
            "include": ["message.output_text.logprobs"],
        },
    )
    searches: list[Any] = [web_search_item("news"), file_search_item("news")]
    found = [*searches, image_generation_item(PIXEL), text("here it is")]
    lab = await make_lab([finder], script=[Reply(*found)])
    result = await (await lab.start("finder", "What is new?")).result(items=True)
    assert result.output == "here it is"
    items = {str(item["type"]): item for item in result.items or []}
    assert items["image_generation_call"]["result"] == PIXEL
    assert items.keys() >= {"web_search_call", "file_search_call"}
    assert set(lab.model.requests[0].body["include"]) >= {
        "web_search_call.action.sources",
        "file_search_call.results",
        "message.output_text.logprobs",
    }
    assert lab.model.violations == []


async def test_two_agents_improve_a_text_in_turns(make_lab: MakeLab) -> None:
    """`to_input_list()` of one run, with a message more, is the input of the next; an answer is a dataclass."""
    writer = Agent(name="writer", model="m")
    judge = Agent(name="judge", model="m", output_type=Verdict)
    replies = ["A fox.", '{"feedback": "longer", "score": "again"}', "A fox runs.", '{"feedback": "", "score": "pass"}']
    lab = await make_lab([writer, judge], script=[Reply(text(each)) for each in replies])
    items: list[dict[str, Any]] = [{"role": "user", "content": "A story."}]
    for _ in range(3):
        written = await (await lab.hf.start(writer, items)).result(items=True)
        items = list(written.items or [])
        verdict = (await (await lab.hf.start(judge, items)).result()).output
        if verdict.score == "pass":
            break
        items.append({"role": "user", "content": f"Feedback: {verdict.feedback}"})
    assert (written.output, verdict) == ("A fox runs.", Verdict("", "pass"))
    assert len(lab.model.requests[-1].body["input"]) == 4


async def test_a_tool_may_have_the_last_word(make_lab: MakeLab) -> None:
    """`tool_use_behavior` as a function: the answer is made of the tool's output, which is JSON by then."""

    async def worded(ctx: RunContext[Any], results: list[ToolResult]) -> FinalOutput:
        weather: Any = results[0].output
        return FinalOutput(f"{weather['city']} is {weather['sky']}.")

    forced = {"tool_choice": "required"}
    weather = Agent("weather", model="m", tools=[forecast], after_tools=worded, model_settings=forced)
    lab = await make_lab([weather], script=[Reply(call("forecast", {"city": "Tokyo"}))])
    result = await (await lab.start("weather", "Tokyo?")).result()
    assert (result.output, result.usage.requests) == ("Tokyo is clear.", 1)


async def test_a_picture_is_a_tools_output(make_lab: MakeLab) -> None:
    """A function that returns an image gives the model the image itself; keys of a dict that are numbers are read."""

    @tool(effect="read_only")
    def picture(path: str) -> Image:
        """Read a picture."""
        return Image(data=path.encode())

    viewer = Agent("viewer", model="m", tools=[picture], output_type=Riddles)
    script = [Reply(call("picture", {"path": "small.png"})), Reply(text('{"by_number": {"1": "Who?"}}'))]
    lab = await make_lab([viewer], script=script)
    assert (await (await lab.hf.start(viewer, "Look.")).result()).output == Riddles({1: "Who?"})
    assert "input_image" in str(lab.model.requests[1].body["input"])


async def test_a_session_corrects_and_prunes(make_lab: MakeLab) -> None:
    """`pop_item` for the last question and its answer; a `session_input_callback` sends the newest items alone."""

    def newest(ctx: RunContext[Any], given: ModelInput) -> ModelInput:
        return ModelInput(given.items[-3:], given.instructions)

    clerk = Agent("desk", instructions="Be brief.", model="m", input_filter=newest)
    lab = await make_lab([clerk], script=[Reply(text(each)) for each in ("4", "5", "six", "seven")])
    session = lab.session(clerk)
    for question in ("2 + 2?", "2 + 3?", "and one more?"):
        assert await (await session.send(question)).output(timeout=WAIT)
        if question == "2 + 2?":
            await session.take_back()
    assert await (await session.send("again?")).output(timeout=WAIT) == "seven"
    assert len(await session.items()) == 6
    assert [len(request.body["input"]) for request in lab.model.requests] == [1, 1, 3, 3]


async def test_a_run_has_a_model_headers_and_a_conversation_of_its_own(make_lab: MakeLab) -> None:
    """`RunConfig(model=…)`, `extra_headers` and an `OpenAIConversationsSession`."""
    clerk = Agent("desk", model="m", model_settings={"extra_headers": {"X-Team": "north"}, "timeout": 60})
    lab = await make_lab([clerk], script=[Reply(text("one")), Reply(text("two"))])
    session = lab.session(clerk, history="conversation", model="other", model_settings={"temperature": 0.1})
    for question in ("first", "second"):
        await (await session.send(question)).output(timeout=WAIT)
    asked = lab.model.created
    assert [len(each.body["input"]) for each in asked] == [1, 1]
    assert {(each.body["model"], each.body["temperature"], each.headers["x-team"]) for each in asked} == {
        ("other", 0.1, "north")
    }
