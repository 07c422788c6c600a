"""Wrong values for the options of agents, tools and rules: one sentence each, what was given and what is wanted."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from handfast import (
    Agent,
    AgentHooks,
    Approval,
    Ask,
    Changed,
    Compact,
    Escalation,
    Fail,
    File,
    Image,
    InputGuardrail,
    OutputGuardrail,
    Retry,
    StopAt,
    Text,
    ToolInputGuardrail,
    Truncate,
    activity_tool,
    code_interpreter,
    custom_tool,
    file_search,
    handoff,
    hosted_mcp,
    question,
    shell_tool,
    tool,
)
from handfast.errors import DefinitionError


class Desk(BaseModel):
    user: str = "ann"


def look(order: int) -> str:
    """Look up an order."""
    return str(order)


def note(text: str) -> str:
    """Take a note."""
    return text


def approve(context: Any, arguments: Any) -> None: ...


def agent(**options: Any) -> object:
    return Agent("desk", **options)


def as_tool(**options: Any) -> object:
    return Agent("desk").as_tool(**options)


def function_tool(**options: Any) -> object:
    return tool(**options)(look)


def text_tool(**options: Any) -> object:
    return custom_tool(**options)(note)


def hand_over(**options: Any) -> object:
    return handoff("billing", **options)


def charge(**options: Any) -> object:
    return activity_tool("charge", **options)


def escalate(**options: Any) -> object:
    return Escalation(**{"after": timedelta(hours=1), "approvers": ["ann"], **options})


def mcp(**options: Any) -> object:
    return hosted_mcp("docs", **{"server_url": "https://mcp.example", **options})


def stop_at(names: Any) -> object:
    return StopAt(names)


RULE = "True, False, an Approval, or a function of the run context and the arguments"

SAID: list[tuple[Callable[..., object], dict[str, Any], str]] = [
    (
        agent,
        {"handoffs": "billing"},
        "handoffs must be a list of agents, names and handoffs, not the text 'billing'; write ['billing']",
    ),
    (
        agent,
        {"handoffs": Agent("b")},
        "handoffs must be a list of agents, names and handoffs, not an Agent; put it in a list",
    ),
    (agent, {"handoffs": None}, "handoffs must be a list of agents, names and handoffs, not None; write [] for none"),
    (agent, {"tools": look}, "tools must be a list of tools and functions, not the function look; put it in a list"),
    (agent, {"tools": "look"}, "tools must be a list of tools and functions, not the text 'look'; write ['look']"),
    (agent, {"tools": {"look": look}}, "tools must be a list of tools and functions, not a dict; put it in a list"),
    (agent, {"tools": [Agent("b")]}, "tools holds the agent 'b'; offer it as b.as_tool()"),
    (agent, {"hooks": AgentHooks()}, "hooks must be a list of AgentHooks objects, not an AgentHooks; put it in a list"),
    (agent, {"hooks": [AgentHooks]}, "hooks must hold AgentHooks objects, not the class AgentHooks"),
    (
        agent,
        {"input_guardrails": approve},
        "input_guardrails must be a list of functions and InputGuardrail, not the function approve; put it in a list",
    ),
    (agent, {"max_turns": "10"}, "max_turns must be an integer of at least 1, or None for no limit, not the text '10'"),
    (agent, {"max_tokens": 0}, "max_tokens must be an integer of at least 1, or None for no limit, not 0"),
    (
        agent,
        {"max_duration": 60},
        "max_duration must be a timedelta of at least 0:00:01, or None for "
        "no limit, not an int; write timedelta(seconds=60)",
    ),
    (agent, {"max_open_requests": 501}, "max_open_requests must be an integer from 1 to 500, not 501"),
    (agent, {"on_limit": "stop"}, "on_limit must be one of 'fail', 'ask', not the text 'stop'"),
    (agent, {"on_limit": ["ask"]}, "on_limit must be one of 'fail', 'ask', not a list"),
    (agent, {"instructions": 5}, "instructions must be a text or a function of the run context, not an int"),
    (agent, {"instructions": ["a", "b"]}, "instructions must be a text or a function of the run context, not a list"),
    (agent, {"model": 5}, "model must be a text that is not empty or None, not an int"),
    (agent, {"model_settings": ["temperature"]}, "model_settings must be a dict, not a list"),
    (agent, {"model_settings": {1: 2}}, "model_settings must have texts as keys, not an int"),
    (agent, {"context_type": Desk()}, "context_type must be a pydantic model class, not a Desk; give the class Desk"),
    (agent, {"context_type": "Desk"}, "context_type must be a pydantic model class, not the text 'Desk'"),
    (agent, {"reset_tool_choice": "no"}, "reset_tool_choice must be True or False, not the text 'no'"),
    (agent, {"background": 1}, "background must be True or False, not an int"),
    (agent, {"compaction": "provider"}, "compaction must be a Compact(…) or None, not the text 'provider'"),
    (agent, {"truncation": 20}, "truncation must be a Truncate(…) or None, not an int"),
    (agent, {"description": None}, "description must be a text, not None"),
    (
        function_tool,
        {"effect": "readonly"},
        "effect must be one of 'read_only', 'idempotent', 'at_most_once', not the text 'readonly'",
    ),
    (function_tool, {"approval": "yes"}, f"approval must be {RULE}, not the text 'yes'"),
    (function_tool, {"approval": Approval}, f"approval must be {RULE}, not the class Approval"),
    (
        function_tool,
        {"approval": lambda arguments: True},
        "approval, given the run context and the arguments, must take exactly 2 positional arguments",
    ),
    (
        function_tool,
        {"timeout": 5},
        "timeout must be a positive timedelta of at most 365 days, not an int; write timedelta(seconds=5)",
    ),
    (function_tool, {"retry": 3}, "retry must be a Retry or None, not an int"),
    (function_tool, {"task_queue": ["gpu"]}, "task_queue must be a text that is not empty or None, not a list"),
    (function_tool, {"description": ["a"]}, "description must be a text or None, not a list"),
    (
        function_tool,
        {"output_guardrails": approve},
        "output_guardrails must be a list of functions, not the function approve; put it in a list",
    ),
    (hand_over, {"input": {"reason": "str"}}, "input must be a pydantic model class, not a dict"),
    (hand_over, {"filter": "all"}, "filter must be a function of the run context and the history, not the text 'all'"),
    (as_tool, {"parameters": Desk()}, "parameters must be a pydantic model class, not a Desk; give the class Desk"),
    (
        as_tool,
        {"max_turns": "5"},
        "max_turns must be an integer of at least 1, or None for the agent's own limit, not the text '5'",
    ),
    (Approval, {"approvers": "ann"}, "approvers must be a list of names, not the text 'ann'; write ['ann']"),
    (
        Approval,
        {"deadline": 3600},
        "deadline must be a timedelta, a datetime with an offset, or None, not an int; write timedelta(seconds=3600)",
    ),
    (Approval, {"quorum": "2"}, "quorum must be an integer from 1 to 20, not the text '2'"),
    (
        Approval,
        {"remind": timedelta(hours=1)},
        "remind must be a list of timedeltas, not a timedelta; put it in a list",
    ),
    (
        Approval,
        {"escalate": Escalation(timedelta(hours=1), ["ann"])},
        "escalate must be a list of Escalation, not an Escalation; put it in a list",
    ),
    (Approval, {"veto": None}, "veto must be True or False, not None"),
    (
        file_search,
        {"vector_store_ids": "vs_1"},
        "vector_store_ids must be a list of ids, not the text 'vs_1'; write ['vs_1']",
    ),
    (
        mcp,
        {"allowed_tools": "search"},
        "allowed_tools must be a list of names, not the text 'search'; write ['search']",
    ),
]


@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        pytest.param(*row, id=f"{getattr(row[0], '__name__', row[0])}-{next(iter(row[1]))}-{n}")
        for n, row in enumerate(SAID)
    ],
)
def test_a_wrong_value_is_answered_in_one_sentence(
    make: Callable[..., object], options: dict[str, Any], says: str
) -> None:
    """The error says what was given and what is wanted, and how to write it where that is known."""
    with pytest.raises(DefinitionError) as refused:
        make(**options)
    assert refused.value.problem == says
    assert re.match(r"\S[^\n]*: ", str(refused.value))


MAKERS: dict[str, tuple[Callable[..., object], list[str]]] = {
    "Agent": (agent, [name for name in Agent.__dataclass_fields__ if name not in ("name", "output")]),
    "tool": (
        function_tool,
        [
            "effect",
            "approval",
            "name",
            "description",
            "on_unknown",
            "timeout",
            "on_error",
            "idempotency_key",
            "task_queue",
            "retry",
            "enabled",
            "on_cancel",
            "input_guardrails",
            "output_guardrails",
            "revalidate",
            "verify",
        ],
    ),
    "custom_tool": (text_tool, ["format", "name", "timeout"]),
    "as_tool": (
        as_tool,
        ["name", "description", "parameters", "input_builder", "output_extractor", "max_turns", "approval", "on_error"],
    ),
    "handoff": (hand_over, ["name", "description", "input", "filter", "on_handoff", "approval"]),
    "activity_tool": (
        charge,
        [
            "input",
            "output",
            "activity",
            "task_queue",
            "effect",
            "approval",
            "description",
            "timeout",
            "heartbeat_timeout",
            "start_within",
            "on_error",
            "on_unknown",
            "key_field",
            "verify",
        ],
    ),
    "question": (
        question,
        ["name", "description", "form", "deadline", "on_deadline", "approvers", "remind", "escalate"],
    ),
    "shell_tool": (
        shell_tool,
        ["name", "approval", "cwd", "timeout", "grace", "environment", "max_output_bytes", "shell"],
    ),
    "Approval": (Approval, list(Approval.__dataclass_fields__)),
    "Escalation": (escalate, list(Escalation.__dataclass_fields__)),
    "Ask": (Ask, list(Ask.__dataclass_fields__)),
    "Retry": (Retry, list(Retry.__dataclass_fields__)),
    "Compact": (lambda **options: Compact(**{"at_tokens": 5, **options}), list(Compact.__dataclass_fields__)),
    "Truncate": (lambda **options: Truncate(**{"keep_items": 5, **options}), list(Truncate.__dataclass_fields__)),
    "StopAt": (stop_at, ["names"]),
    "Changed": (lambda **options: Changed(**{"why": "it", **options}), ["why"]),
    "Fail": (Fail, ["reason"]),
    "InputGuardrail": (
        lambda **options: InputGuardrail(**{"function": approve, **options}),
        ["function", "parallel", "name"],
    ),
    "OutputGuardrail": (lambda **options: OutputGuardrail(**{"function": approve, **options}), ["function", "name"]),
    "ToolInputGuardrail": (
        lambda **options: ToolInputGuardrail(**{"function": approve, **options}),
        ["function", "before_approval"],
    ),
    "Image": (lambda **options: Image(**({"url": "https://x"} | options)), ["url", "media_type", "detail"]),
    "File": (lambda **options: File(**({"url": "https://x"} | options)), ["url", "filename", "media_type"]),
    "Text": (Text, ["text"]),
    "hosted_mcp": (
        mcp,
        ["server_url", "approval", "require_approval", "allowed_tools", "headers", "authorization"],
    ),
    "file_search": (file_search, ["vector_store_ids"]),
    "code_interpreter": (code_interpreter, ["container"]),
}
JUNK: list[object] = [
    5,
    -1,
    0.5,
    True,
    None,
    "",
    "text",
    b"bytes",
    [],
    ["a"],
    [5],
    {},
    {"a": 1},
    {1: 2},
    (),
    object(),
    object,
    Desk,
    Desk(),
    print,
    lambda: None,
    lambda a, b, c: None,
    timedelta(0),
    timedelta(days=-1),
    timedelta.max,
    float("nan"),
    {object()},
]


@pytest.mark.parametrize(
    ("make", "option"),
    [
        pytest.param(make, option, id=f"{name}-{option}")
        for name, (make, options) in MAKERS.items()
        for option in options
    ],
)
def test_no_value_of_an_option_ends_in_another_error(make: Callable[..., object], option: str) -> None:
    """Whatever an option is given is taken, or refused in one line that names the option or what is wrong with it."""
    for junk in JUNK:
        said = refusal(make, {option: junk})
        assert "\n" not in said
        assert len(said) < 400


def refusal(make: Callable[..., object], options: dict[str, Any]) -> str:
    """What a definition is refused with; nothing where it is taken."""
    try:
        make(**options)
    except DefinitionError as refused:
        return str(refused)
    return ""
