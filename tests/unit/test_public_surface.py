"""What users may import, and what they can rely on of it."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

import handfast
import handfast.testing
from handfast import Usage, errors
from handfast.errors import REFUSALS, HandfastError, RefusalError
from handfast.payloads.sessions import TurnFailure

PUBLIC: Final = (
    "Agent",
    "AgentEnd",
    "AgentFailure",
    "AgentHooks",
    "AgentHost",
    "AgentRef",
    "AgentRun",
    "AgentSession",
    "AgentStart",
    "AgentTool",
    "Allow",
    "Answer",
    "AnyLLMModel",
    "Approval",
    "Approve",
    "Ask",
    "Chain",
    "Changed",
    "ChatCompletionsModel",
    "Compact",
    "Conversation",
    "Decided",
    "Decision",
    "Delta",
    "DeltaStream",
    "DeltasDiscarded",
    "Erased",
    "Escalation",
    "Fail",
    "File",
    "FinalOutput",
    "GiveUp",
    "Grant",
    "GuardrailResult",
    "Handfast",
    "HandfastError",
    "HandfastPlugin",
    "Handoff",
    "HandoffHistory",
    "HandoffTaken",
    "Image",
    "InProcessDeltas",
    "InputGuardrail",
    "KeptHistory",
    "Keyring",
    "LimitsRaised",
    "Match",
    "MaxTurns",
    "McpCall",
    "McpServer",
    "MessageReceipt",
    "ModelAnswer",
    "ModelCallError",
    "ModelChoice",
    "ModelDelta",
    "ModelEnd",
    "ModelInput",
    "ModelPort",
    "ModelRequest",
    "ModelReviewer",
    "ModelStart",
    "NestedRun",
    "Notification",
    "OpenRequest",
    "Opinion",
    "OutcomeUnknownError",
    "OutputGuardrail",
    "Price",
    "Question",
    "Ran",
    "Receipt",
    "Refusal",
    "RefusalError",
    "Reject",
    "Rejection",
    "Remember",
    "Replace",
    "Request",
    "RequestUsage",
    "ResponsesModel",
    "Retry",
    "Review",
    "ReviewInput",
    "ReviewMessage",
    "Run",
    "RunAgain",
    "RunContext",
    "RunInfo",
    "RunResult",
    "RunStatus",
    "Secret",
    "Session",
    "ShellResult",
    "Signer",
    "Started",
    "StopAt",
    "Text",
    "Tool",
    "ToolArguments",
    "ToolContext",
    "ToolEnd",
    "ToolInputGuardrail",
    "ToolProgress",
    "ToolResult",
    "Trouble",
    "Truncate",
    "TrustedKey",
    "TrustedKeys",
    "Turn",
    "TurnResult",
    "Usage",
    "WaitingForPeople",
    "activity_tool",
    "code_interpreter",
    "custom_tool",
    "file_search",
    "handoff",
    "hosted_mcp",
    "image_generation",
    "is_sampled",
    "messages_only",
    "question",
    "shell_tool",
    "tool",
    "web_search",
)
PUBLIC_IN_TESTING: Final = (
    *("Compacted", "Delay", "Drop", "Fail", "Gate", "Hang", "Lab", "LabTimeoutError", "Pause", "Reply"),
    *(
        "ResponsesServer",
        "Script",
        "Usage",
        "Verbatim",
        "When",
        "call",
        "code_interpreter_item",
        "compaction",
        "custom_call",
    ),
    *("fetch_histories", "file_search_item", "image_generation_item", "mcp_approval", "mcp_call_item"),
    *("mcp_tools_item", "raw", "reasoning", "refusal", "replay", "text", "web_search_item"),
)
SURFACE: Final = [(handfast, name) for name in PUBLIC] + [(handfast.testing, name) for name in PUBLIC_IN_TESTING]

SAMPLES: Final[dict[str, object]] = {
    "str": "something",
    "int": 7233,
    "Sequence[str]": ["one", "two"],
    "Path": Path("server.log"),
    "str | None": "2026-11",
    "Usage | None": Usage(requests=3),
    "Mapping[str, Any] | None": {"guardrail": "polite"},
    "TurnFailure": TurnFailure(type="ToolFailed", message="no disk"),
}
"""A value for each type that an error takes."""


@pytest.mark.parametrize(("module", "names"), [(handfast, PUBLIC), (handfast.testing, PUBLIC_IN_TESTING)])
def test_the_public_names_are_pinned(module: ModuleType, names: tuple[str, ...]) -> None:
    """A public name appears or goes only on purpose, and the list stays sorted."""
    assert tuple(module.__all__) == names
    assert sorted(names) == list(names)
    assert set(names) <= set(dir(module))


@pytest.mark.parametrize("module", [handfast, handfast.testing])
def test_type_checkers_see_the_names_that_are_loaded(module: ModuleType) -> None:
    """The imports for type checkers are those of the table that names are loaded by, each marked as exported."""
    assert module.__file__ is not None
    [block] = [each for each in ast.parse(Path(module.__file__).read_text()).body if isinstance(each, ast.If)]
    shown = {
        name.asname: f"{each.module}.{name.name}"
        for each in block.body
        if isinstance(each, ast.ImportFrom)
        for name in each.names
    }
    assert shown == {name: f"{module.__name__}.{home}.{name}" for name, home in vars(module)["_HOMES"].items()}


def test_no_public_name_is_that_of_a_module() -> None:
    """Importing the module would put it in the name's place."""
    assert [name for name in PUBLIC if find_spec(f"handfast.{name}") is not None] == []
    assert [name for name in PUBLIC_IN_TESTING if find_spec(f"handfast.testing.{name}") is not None] == []


@pytest.mark.parametrize("module", [handfast, handfast.testing])
def test_a_name_that_does_not_exist_is_an_attribute_error(module: ModuleType) -> None:
    """A mistyped name is refused as Python does it."""
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = module.nothing_like_it


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        pytest.param("import handfast", ["temporalio", "openai", "pydantic"], id="package"),
        pytest.param("import handfast.testing", ["temporalio", "openai", "pydantic"], id="testing"),
        pytest.param(
            "from handfast import Agent, Approval, McpServer, RunContext, ToolContext, tool",
            ["temporalio", "openai", "mcp", "mcp_types", "jsonschema"],
            id="definitions",
        ),
        pytest.param("from handfast import AgentHost, AgentRef, AgentRun", ["openai"], id="workflows"),
        pytest.param("from handfast import Handfast, Run", ["openai", "mcp", "mcp_types"], id="client"),
        pytest.param("from handfast import HandfastPlugin", ["mcp", "mcp_types", "jsonschema"], id="plugin"),
    ],
)
def test_importing_loads_only_what_is_needed(statement: str, absent: list[str]) -> None:
    """Defining agents loads neither Temporal nor OpenAI; workflows and clients never load OpenAI, and
    nothing of this loads the SDK of MCP."""
    code = f"import sys; {statement}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("module", "name"), SURFACE, ids=[f"{module.__name__}.{name}" for module, name in SURFACE])
def test_every_public_name_is_documented(module: ModuleType, name: str) -> None:
    """Every public name, and every public method and property of it, says what it is for."""
    found = getattr(module, name)
    assert _documented(found), f"{name} has no docstring"
    if isinstance(found, type):
        bare = [
            member
            for member, value in vars(found).items()
            if not member.startswith("_") and _is_code(value) and not inspect.getdoc(getattr(found, member))
        ]
        assert bare == []


def _documented(found: object) -> bool:
    text = inspect.getdoc(found) or ""
    generated = dataclasses.is_dataclass(found) and text.startswith(f"{getattr(found, '__name__', '')}(")
    return bool(text) and not generated


def _is_code(value: object) -> bool:
    return inspect.isfunction(value) or isinstance(value, classmethod | staticmethod | property)


def error_classes() -> list[type[HandfastError]]:
    """Every error class of the tree, but for its two bases."""
    return [
        found
        for found in vars(import_module("handfast.errors")).values()
        if isinstance(found, type) and issubclass(found, HandfastError) and found not in (HandfastError, RefusalError)
    ]


@pytest.mark.parametrize("kind", error_classes())
def test_every_error_carries_its_facts_and_one_line(kind: type[HandfastError]) -> None:
    """An error says in one line what happened, and a program finds each fact of it as an attribute."""
    assert inspect.getdoc(kind)
    if issubclass(kind, RefusalError):
        refusal = kind("it was refused", request="r-1")
        assert (str(refusal), refusal.message, refusal.facts) == ("it was refused",) * 2 + ({"request": "r-1"},)
        return
    parameters = inspect.signature(kind).parameters
    given = {name: SAMPLES[str(parameter.annotation)] for name, parameter in parameters.items()}
    error = kind(**given)
    assert str(error)
    assert "\n" not in str(error)
    for name, value in given.items():
        assert getattr(error, name) == (tuple(value) if isinstance(value, list) else value)


def test_every_refusal_travels_under_its_own_name() -> None:
    """A refusal that was answered over the wire is raised again as the class that it was."""
    refusals = {kind.__name__: kind for kind in error_classes() if issubclass(kind, RefusalError)}
    assert refusals == REFUSALS
    assert errors.REFUSALS is REFUSALS
