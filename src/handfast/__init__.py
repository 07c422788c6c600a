"""Handfast: AI agents as Temporal workflows, with a person's yes or no that reaches exactly one call, once.

Names are loaded when they are first used, so that a workflow, a tool or a client loads only what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handfast.activity_tools import (
        activity_tool,
    )
    from handfast.after_tools import (
        FinalOutput,
        StopAt,
        ToolResult,
    )
    from handfast.agent import (
        Agent,
        Rejection,
    )
    from handfast.agent_tool import (
        AgentFailure,
        AgentTool,
        NestedRun,
    )
    from handfast.approval import (
        Approval,
    )
    from handfast.client import (
        Handfast,
    )
    from handfast.compaction import (
        Compact,
    )
    from handfast.content import (
        File,
        Image,
        Text,
    )
    from handfast.context import (
        RunContext,
        ToolContext,
    )
    from handfast.custom_tools import (
        custom_tool,
    )
    from handfast.deltas import (
        DeltaStream,
        InProcessDeltas,
    )
    from handfast.doubt import (
        Ask,
    )
    from handfast.errors import (
        HandfastError,
        OutcomeUnknownError,
        RefusalError,
        WaitingForPeople,
    )
    from handfast.escalation import (
        Escalation,
    )
    from handfast.guardrail import (
        Allow,
        Fail,
        InputGuardrail,
        OutputGuardrail,
        Replace,
    )
    from handfast.handle import (
        Run,
    )
    from handfast.handoffs import (
        Handoff,
        HandoffHistory,
        handoff,
        messages_only,
    )
    from handfast.hooks import (
        AgentHooks,
        ModelEnd,
        ModelStart,
        ToolEnd,
    )
    from handfast.hosted import (
        McpCall,
        code_interpreter,
        file_search,
        hosted_mcp,
        image_generation,
        web_search,
    )
    from handfast.keyring import (
        Keyring,
    )
    from handfast.limits import (
        MaxTurns,
        Refusal,
    )
    from handfast.lists import (
        OpenRequest,
        RunInfo,
    )
    from handfast.many import (
        Decided,
        Started,
    )
    from handfast.payloads.deltas import (
        Delta,
        DeltasDiscarded,
    )
    from handfast.payloads.guardrails import (
        GuardrailResult,
    )
    from handfast.payloads.history import (
        Chain,
        Conversation,
        KeptHistory,
    )
    from handfast.payloads.messages import (
        MessageReceipt,
    )
    from handfast.payloads.notify import (
        Notification,
    )
    from handfast.payloads.progress import (
        ToolProgress,
    )
    from handfast.payloads.remember import (
        Match,
        Remember,
    )
    from handfast.payloads.requests import (
        Answer,
        Approve,
        Decision,
        GiveUp,
        Grant,
        LimitsRaised,
        Ran,
        Receipt,
        Reject,
        Request,
        RunAgain,
    )
    from handfast.payloads.runs import (
        RunResult,
        RunStatus,
    )
    from handfast.payloads.sessions import (
        TurnResult,
    )
    from handfast.payloads.usage import (
        RequestUsage,
        Usage,
    )
    from handfast.plugin import (
        HandfastPlugin,
    )
    from handfast.questions import (
        Question,
        question,
    )
    from handfast.records import (
        Erased,
    )
    from handfast.revalidation import (
        Changed,
    )
    from handfast.secret import (
        Secret,
    )
    from handfast.sessions import (
        Session,
    )
    from handfast.shell import (
        ShellResult,
        shell_tool,
    )
    from handfast.signing import (
        Signer,
    )
    from handfast.tool_options import (
        Retry,
        ToolInputGuardrail,
    )
    from handfast.tools import (
        Tool,
        tool,
    )
    from handfast.trouble import (
        Trouble,
    )
    from handfast.truncation import (
        Truncate,
    )
    from handfast.trusted_keys import (
        TrustedKey,
        TrustedKeys,
    )
    from handfast.turns import (
        Turn,
    )
    from handfast.workflows.agent_ref import (
        AgentRef,
    )
    from handfast.workflows.host import (
        AgentHost,
    )
    from handfast.workflows.run import (
        AgentRun,
    )
    from handfast.workflows.session import (
        AgentSession,
    )

_HOMES = {
    "Agent": "agent",
    "AgentFailure": "agent_tool",
    "AgentHooks": "hooks",
    "AgentHost": "workflows.host",
    "AgentRef": "workflows.agent_ref",
    "AgentRun": "workflows.run",
    "AgentSession": "workflows.session",
    "AgentTool": "agent_tool",
    "Allow": "guardrail",
    "Answer": "payloads.requests",
    "Approval": "approval",
    "Approve": "payloads.requests",
    "Ask": "doubt",
    "Chain": "payloads.history",
    "Changed": "revalidation",
    "Compact": "compaction",
    "Conversation": "payloads.history",
    "Decided": "many",
    "Decision": "payloads.requests",
    "Delta": "payloads.deltas",
    "DeltaStream": "deltas",
    "DeltasDiscarded": "payloads.deltas",
    "Erased": "records",
    "Escalation": "escalation",
    "Fail": "guardrail",
    "File": "content",
    "FinalOutput": "after_tools",
    "GiveUp": "payloads.requests",
    "Grant": "payloads.requests",
    "GuardrailResult": "payloads.guardrails",
    "Handoff": "handoffs",
    "HandoffHistory": "handoffs",
    "Handfast": "client",
    "HandfastError": "errors",
    "HandfastPlugin": "plugin",
    "Image": "content",
    "InProcessDeltas": "deltas",
    "InputGuardrail": "guardrail",
    "KeptHistory": "payloads.history",
    "Keyring": "keyring",
    "LimitsRaised": "payloads.requests",
    "Match": "payloads.remember",
    "MaxTurns": "limits",
    "McpCall": "hosted",
    "MessageReceipt": "payloads.messages",
    "ModelEnd": "hooks",
    "ModelStart": "hooks",
    "NestedRun": "agent_tool",
    "Notification": "payloads.notify",
    "OpenRequest": "lists",
    "OutcomeUnknownError": "errors",
    "OutputGuardrail": "guardrail",
    "Question": "questions",
    "Ran": "payloads.requests",
    "Receipt": "payloads.requests",
    "Refusal": "limits",
    "RefusalError": "errors",
    "Reject": "payloads.requests",
    "Rejection": "agent",
    "Remember": "payloads.remember",
    "Replace": "guardrail",
    "Request": "payloads.requests",
    "RequestUsage": "payloads.usage",
    "Retry": "tool_options",
    "Run": "handle",
    "RunAgain": "payloads.requests",
    "RunContext": "context",
    "RunInfo": "lists",
    "RunResult": "payloads.runs",
    "RunStatus": "payloads.runs",
    "Secret": "secret",
    "Session": "sessions",
    "ShellResult": "shell",
    "Signer": "signing",
    "Started": "many",
    "StopAt": "after_tools",
    "Text": "content",
    "Tool": "tools",
    "ToolContext": "context",
    "ToolEnd": "hooks",
    "ToolInputGuardrail": "tool_options",
    "ToolProgress": "payloads.progress",
    "ToolResult": "after_tools",
    "Trouble": "trouble",
    "Truncate": "truncation",
    "TrustedKey": "trusted_keys",
    "TrustedKeys": "trusted_keys",
    "Turn": "turns",
    "TurnResult": "payloads.sessions",
    "Usage": "payloads.usage",
    "WaitingForPeople": "errors",
    "activity_tool": "activity_tools",
    "code_interpreter": "hosted",
    "custom_tool": "custom_tools",
    "file_search": "hosted",
    "handoff": "handoffs",
    "hosted_mcp": "hosted",
    "image_generation": "hosted",
    "messages_only": "handoffs",
    "question": "questions",
    "shell_tool": "shell",
    "tool": "tools",
    "web_search": "hosted",
}

__all__ = [
    "Agent",
    "AgentFailure",
    "AgentHooks",
    "AgentHost",
    "AgentRef",
    "AgentRun",
    "AgentSession",
    "AgentTool",
    "Allow",
    "Answer",
    "Approval",
    "Approve",
    "Ask",
    "Chain",
    "Changed",
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
    "Image",
    "InProcessDeltas",
    "InputGuardrail",
    "KeptHistory",
    "Keyring",
    "LimitsRaised",
    "Match",
    "MaxTurns",
    "McpCall",
    "MessageReceipt",
    "ModelEnd",
    "ModelStart",
    "NestedRun",
    "Notification",
    "OpenRequest",
    "OutcomeUnknownError",
    "OutputGuardrail",
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
    "Retry",
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
    "messages_only",
    "question",
    "shell_tool",
    "tool",
    "web_search",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'handfast' has no attribute {name!r}")
    value = getattr(import_module(f"handfast.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
