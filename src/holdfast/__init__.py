"""Holdfast: AI agents as Temporal workflows, with a person's yes or no that reaches exactly one call, once.

Names are loaded when they are first used, so that a workflow, a tool or a client loads only what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.activity_tools import (
        activity_tool,
    )
    from holdfast.after_tools import (
        FinalOutput,
        StopAt,
        ToolResult,
    )
    from holdfast.agent import (
        Agent,
        Rejection,
    )
    from holdfast.agent_tool import (
        AgentFailure,
        AgentTool,
        NestedRun,
    )
    from holdfast.approval import (
        Approval,
    )
    from holdfast.client import (
        Holdfast,
    )
    from holdfast.compaction import (
        Compact,
    )
    from holdfast.content import (
        File,
        Image,
        Text,
    )
    from holdfast.context import (
        RunContext,
        ToolContext,
    )
    from holdfast.custom_tools import (
        custom_tool,
    )
    from holdfast.deltas import (
        DeltaStream,
        InProcessDeltas,
    )
    from holdfast.doubt import (
        Ask,
    )
    from holdfast.errors import (
        HoldfastError,
        OutcomeUnknownError,
        RefusalError,
        WaitingForPeople,
    )
    from holdfast.escalation import (
        Escalation,
    )
    from holdfast.guardrail import (
        Allow,
        Fail,
        InputGuardrail,
        OutputGuardrail,
        Replace,
    )
    from holdfast.handle import (
        Run,
    )
    from holdfast.handoffs import (
        Handoff,
        HandoffHistory,
        handoff,
        messages_only,
    )
    from holdfast.hooks import (
        AgentHooks,
        ModelEnd,
        ModelStart,
        ToolEnd,
    )
    from holdfast.hosted import (
        McpCall,
        code_interpreter,
        file_search,
        hosted_mcp,
        image_generation,
        web_search,
    )
    from holdfast.keyring import (
        Keyring,
    )
    from holdfast.limits import (
        MaxTurns,
        Refusal,
    )
    from holdfast.lists import (
        OpenRequest,
        RunInfo,
    )
    from holdfast.many import (
        Decided,
        Started,
    )
    from holdfast.payloads.deltas import (
        Delta,
        DeltasDiscarded,
    )
    from holdfast.payloads.guardrails import (
        GuardrailResult,
    )
    from holdfast.payloads.history import (
        Chain,
        Conversation,
        KeptHistory,
    )
    from holdfast.payloads.messages import (
        MessageReceipt,
    )
    from holdfast.payloads.notify import (
        Notification,
    )
    from holdfast.payloads.progress import (
        ToolProgress,
    )
    from holdfast.payloads.remember import (
        Match,
        Remember,
    )
    from holdfast.payloads.requests import (
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
    from holdfast.payloads.runs import (
        RunResult,
        RunStatus,
    )
    from holdfast.payloads.sessions import (
        TurnResult,
    )
    from holdfast.payloads.usage import (
        RequestUsage,
        Usage,
    )
    from holdfast.plugin import (
        HoldfastPlugin,
    )
    from holdfast.questions import (
        Question,
        question,
    )
    from holdfast.records import (
        Erased,
    )
    from holdfast.revalidation import (
        Changed,
    )
    from holdfast.secret import (
        Secret,
    )
    from holdfast.sessions import (
        Session,
    )
    from holdfast.shell import (
        ShellResult,
        shell_tool,
    )
    from holdfast.signing import (
        Signer,
    )
    from holdfast.tool_options import (
        Retry,
        ToolInputGuardrail,
    )
    from holdfast.tools import (
        Tool,
        tool,
    )
    from holdfast.trouble import (
        Trouble,
    )
    from holdfast.truncation import (
        Truncate,
    )
    from holdfast.trusted_keys import (
        TrustedKey,
        TrustedKeys,
    )
    from holdfast.turns import (
        Turn,
    )
    from holdfast.workflows.agent_ref import (
        AgentRef,
    )
    from holdfast.workflows.host import (
        AgentHost,
    )
    from holdfast.workflows.run import (
        AgentRun,
    )
    from holdfast.workflows.session import (
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
    "Holdfast": "client",
    "HoldfastError": "errors",
    "HoldfastPlugin": "plugin",
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
    "Handoff",
    "HandoffHistory",
    "Holdfast",
    "HoldfastError",
    "HoldfastPlugin",
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
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    value = getattr(import_module(f"holdfast.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
