"""Tools that the provider runs itself, and its questions whether it may call a hosted MCP server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType

from handfast import (
    Agent,
    Answer,
    Approval,
    Approve,
    Fail,
    McpCall,
    Reject,
    Rejection,
    RunContext,
    code_interpreter,
    file_search,
    hosted_mcp,
    image_generation,
    web_search,
)
from handfast.errors import DefinitionError, RunFailedError, VerdictNotAllowedError
from handfast.testing import (
    Lab,
    Reply,
    code_interpreter_item,
    file_search_item,
    image_generation_item,
    mcp_approval,
    mcp_call_item,
    mcp_tools_item,
    text,
    web_search_item,
)
from support.evidence import plain, send_signal
from support.labs import MakeLab

DONE = Reply(text("done"))
ASK = Reply(mcp_tools_item("wiki", ["edit"]), mcp_approval("wiki", "edit", {"page": "home"}, "mcpr_1"))
RULE: dict[str, Any] = {"approval": lambda: True}
SECRET = "Bearer very-secret-token"


def librarian(**options: Any) -> Agent:
    """An agent with a hosted MCP server."""
    wiki = hosted_mcp("wiki", server_url="https://wiki.example/mcp", headers={"Authorization": SECRET}, **options)
    return Agent("librarian", model="m", tools=[wiki])


def answers(lab: Lab, request: int = 2) -> list[dict[str, Any]]:
    """The answers to the provider's questions that a model request carried."""
    items = lab.model.requests[request - 1].body["input"]
    return [item for item in items if item["type"] == "mcp_approval_response"]


async def test_what_the_provider_ran_comes_back_word_for_word(make_lab: MakeLab, cache: int) -> None:
    """Hosted tools are offered as written, and their items reach the next request unchanged and in order."""
    tools = [
        web_search(search_context_size="low"),
        file_search(["vs_1"], max_num_results=3),
        code_interpreter(),
        image_generation(size="1024x1024", quality="low"),
        hosted_mcp("wiki", connector_id="connector_gmail", approval=False, allowed_tools=["find"]),
    ]
    items = [
        web_search_item("fans"),
        file_search_item("fans"),
        code_interpreter_item("print(1)", "1"),
        image_generation_item("aGVsbG8="),
        mcp_tools_item("wiki", ["find"]),
        mcp_call_item("wiki", "find", {"title": "fans"}, "a page"),
    ]
    replies = [Reply(*items, mcp_approval("wiki", "find", {}, "mcpr_1")), DONE]
    lab = await make_lab([Agent("a", model="m", tools=tools)], script=replies, max_cached_workflows=cache)
    run = await lab.start("a")
    assert (await run.result()).output == "done"
    first, second = lab.model.requests
    assert [tool["type"] for tool in first.body["tools"]] == [
        *("web_search", "file_search", "code_interpreter", "image_generation", "mcp"),
    ]
    assert first.body["tools"][1] == {"type": "file_search", "vector_store_ids": ["vs_1"], "max_num_results": 3}
    assert first.body["tools"][4]["require_approval"] == "never"
    assert first.reply is not None
    assert second.body["input"][1:-1] == first.reply["output"]
    assert answers(lab) == [{"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}]
    assert lab.model.violations == []


async def test_an_approved_call_is_the_providers_to_make(make_lab: MakeLab, cache: int) -> None:
    """A person's yes reaches the provider after a restart; the request says which server and tool, and nothing runs."""
    replies = [ASK, Reply(mcp_call_item("wiki", "edit", {"page": "home"}, "edited"), text("done"))]
    lab = await make_lab([librarian()], script=replies, max_cached_workflows=cache)
    run = await lab.start("librarian")
    request = await lab.next_request(run)
    assert (request.kind, request.tool, request.arguments) == ("hosted_mcp", "wiki.edit", {"page": "home"})
    assert request.facts == {"server_label": "wiki", "name": "edit"}
    assert request.verdicts == ["approve", "reject"]
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert answers(lab) == [{"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}]
    history = await lab.client.get_workflow_handle(run.id).fetch_history()
    scheduled = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    assert set(scheduled) == {"handfast.call_model"}
    assert SECRET not in history.to_json()
    assert lab.model.requests[0].body["tools"][0]["headers"] == {"Authorization": SECRET}
    assert lab.model.violations == []


async def test_a_rejection_tells_the_provider_why(make_lab: MakeLab) -> None:
    """A no reaches the provider with its reason; edits and answers are refused, as the provider runs its own."""
    lab = await make_lab([librarian()], script=[ASK, DONE])
    run = await lab.start("librarian")
    request = await lab.next_request(run)
    with pytest.raises(VerdictNotAllowedError, match="the provider runs its own"):
        await run.decide(request, Approve(arguments={"page": "other"}), decided_by="lead")
    with pytest.raises(VerdictNotAllowedError):
        await run.decide(request, Answer(output="edited"), decided_by="lead")
    await run.decide(request, Reject(reason="not the home page"), decided_by="lead")
    await run.result()
    [answer] = answers(lab)
    assert (answer["approve"], answer["reason"]) == (False, "not the home page")


@pytest.mark.parametrize("worded", [False, True], ids=["default", "rejection-text"])
async def test_no_reason_is_made_up_for_a_rejection_without_one(make_lab: MakeLab, *, worded: bool) -> None:
    """A no without a reason reaches the provider without one: neither our default text nor the agent's
    `rejection_text` stands there as if a person had given it (A8)."""
    asked: list[str] = []

    def words(_context: RunContext, rejection: Rejection) -> str:
        asked.append(rejection.tool)
        return "made up"

    tools = librarian().hosted
    agent = Agent("librarian", model="m", tools=tools, rejection_text=words if worded else None)
    lab = await make_lab([agent], script=[ASK, DONE])
    run = await lab.start("librarian")
    await run.reject(await lab.next_request(run), decided_by="lead")
    await run.result()
    assert answers(lab) == [{"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": False}]
    assert asked == []
    assert lab.model.violations == []


async def test_a_yes_waits_for_the_guardrails_of_the_input(make_lab: MakeLab) -> None:
    """The provider would run the call in the very next request: a parallel guardrail that trips comes before that,
    although the question itself may be put to a person meanwhile."""
    judged = asyncio.Event()

    async def check(_context: RunContext, _items: Any) -> Fail:
        await asyncio.wait_for(judged.wait(), 20)
        return Fail("not for us")

    wiki = hosted_mcp("wiki", server_url="https://wiki.example/mcp", approval=lambda ctx, asked: asked.name == "drop")
    agent = Agent("librarian", model="m", tools=[wiki], input_guardrails=[check])
    both = Reply(mcp_approval("wiki", "edit", {}, "mcpr_1"), mcp_approval("wiki", "drop", {}, "mcpr_2"))
    lab = await make_lab([agent], script=[both, DONE])
    run = await lab.start("librarian")
    await run.approve(await lab.next_request(run), decided_by="lead")
    calls = (await run.status()).calls
    assert [(each.call_id, each.state) for each in calls] == [("mcpr_1", "ready"), ("mcpr_2", "ready")]
    judged.set()
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == "GuardrailTripped"
    assert len(lab.model.requests) == 1


async def test_the_approve_signal_works_on_a_hosted_server(make_lab: MakeLab) -> None:
    """The shorthand takes a bare id, as for approvals."""
    lab = await make_lab([librarian()], script=[ASK, DONE])
    run = await lab.start("librarian")
    request = await lab.next_request(run)
    await send_signal(lab, run, "approve", [plain(request.id)])
    await run.result()
    assert answers(lab)[0]["approve"] is True


async def test_a_remembered_yes_holds_for_one_server_and_tool(make_lab: MakeLab) -> None:
    """A later question about the same tool of the same server is answered; another tool, or server, asks."""
    other = hosted_mcp("docs", server_url="https://docs.example/mcp")
    second = Reply(
        mcp_approval("wiki", "edit", {"page": "about"}, "mcpr_2"),
        mcp_approval("docs", "edit", {"page": "about"}, "mcpr_3"),
        mcp_approval("wiki", "drop", {}, "mcpr_4"),
    )
    agent = Agent("librarian", model="m", tools=[librarian().hosted[0], other])
    lab = await make_lab([agent], script=[ASK, second, DONE])
    run = await lab.start("librarian")
    await run.approve(await lab.next_request(run), decided_by="lead", remember="tool")
    pending = await lab.open_requests(run, 2)
    assert [request.tool for request in pending] == ["docs.edit", "wiki.drop"]
    for request in pending:
        await run.reject(request, decided_by="lead")
    await run.result()
    assert [(each["approval_request_id"], each["approve"]) for each in answers(lab, 3)] == [
        ("mcpr_1", True),
        ("mcpr_2", True),
        ("mcpr_3", False),
        ("mcpr_4", False),
    ]


async def test_a_rule_decides_which_calls_of_a_server_ask(make_lab: MakeLab) -> None:
    """It gets server, tool and arguments; a deadline answers no."""
    asked: list[McpCall] = []

    def only_edits(ctx: RunContext[Any], wanted: McpCall) -> Approval | None:
        asked.append(wanted)
        return Approval(reason="it writes") if wanted.name == "edit" else None

    both = Reply(mcp_approval("wiki", "find", {"q": 1}, "mcpr_1"), mcp_approval("wiki", "edit", {}, "mcpr_2"))
    lab = await make_lab([librarian(approval=only_edits)], script=[both, DONE])
    run = await lab.start("librarian")
    [request] = await lab.open_requests(run, 1)
    assert (request.tool, request.reason) == ("wiki.edit", "it writes")
    await run.reject(request, decided_by="lead")
    await run.result()
    assert McpCall("wiki", "find", {"q": 1}) in asked
    assert [(each["approval_request_id"], each["approve"]) for each in answers(lab)] == [
        ("mcpr_1", True),
        ("mcpr_2", False),
    ]


async def test_arguments_that_cannot_be_shown_are_denied(make_lab: MakeLab) -> None:
    """Nobody can approve what cannot be read: the provider is told no."""
    lab = await make_lab([librarian()], script=[Reply(mcp_approval("wiki", "edit", "{broken", "mcpr_1")), DONE])
    run = await lab.start("librarian")
    await run.result()
    [answer] = answers(lab)
    assert answer["approve"] is False
    assert answer["reason"].startswith("The arguments cannot be shown to a person")


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(mcp_approval("other", "edit", {})), id="server"),
        pytest.param(Reply(mcp_approval("wiki", "x" * 300, {})), id="long-name"),
    ],
)
async def test_a_question_that_was_not_offered_fails_the_run(make_lab: MakeLab, reply: Reply) -> None:
    """The provider asks about a server that the agent does not have: nobody is asked, and the third in a row fails the
    run with a type."""
    lab = await make_lab([librarian()], script=[reply] * 3)
    run = await lab.start("librarian")
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == "ModelReplyInvalid"


async def test_an_image_too_large_to_be_recorded_ends_the_run_with_a_type(make_lab: MakeLab) -> None:
    """Its base64 text would not fit into the history: the run says so instead of paying for it again."""
    agent = Agent("a", model="m", tools=[image_generation()])
    lab = await make_lab([agent], script=[Reply(image_generation_item("A" * 1_900_000), text("here"))])
    run = await lab.start("a")
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == "ModelReplyTooLarge"
    assert len(lab.model.requests) == 1


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        pytest.param(lambda: web_search(filters=object()), "must be JSON", id="no-json"),
        pytest.param(lambda: web_search(type="other"), "leave it out", id="type"),
        pytest.param(lambda: file_search([]), "at least one id", id="no-store"),
        pytest.param(lambda: file_search("vs_1"), "not the text 'vs_1'", id="store-text"),
        pytest.param(lambda: hosted_mcp("wiki"), "either server_url or connector_id", id="nowhere"),
        pytest.param(lambda: hosted_mcp("w", server_url="u", connector_id="c"), "either", id="twice"),
        pytest.param(lambda: hosted_mcp("", server_url="u"), "1 to 64 letters", id="label"),
        pytest.param(lambda: hosted_mcp("w" * 65, server_url="u"), "1 to 64 letters", id="label-long"),
        pytest.param(lambda: hosted_mcp("w.x", server_url="u"), "1 to 64 letters", id="label-dot"),
        pytest.param(lambda: hosted_mcp("w", server_url="u", **RULE), "approval, given the run context", id="rule"),
        pytest.param(
            lambda: Agent("a", tools=[hosted_mcp("w", server_url="u"), hosted_mcp("w", server_url="v")]),
            "labelled 'w'",
            id="labels",
        ),
    ],
)
def test_a_hosted_tool_that_cannot_work_is_refused(make: Any, problem: str) -> None:
    """The provider would refuse every request of the agent: the definition says so first."""
    with pytest.raises(DefinitionError, match=problem):
        make()


def test_secrets_are_not_shown() -> None:
    """What an agent prints holds no header."""
    assert SECRET not in repr(librarian())
