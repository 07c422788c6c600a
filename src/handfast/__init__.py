"""Handfast: AI agents as Temporal workflows, with a person's yes or no that reaches exactly one call, once.

Names are loaded when they are first used, so that a workflow, a tool or a client loads only what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a test compares these with the table below, name by name
    from handfast.client.client import (
        Handfast as Handfast,
    )
    from handfast.client.lists import (
        OpenRequest as OpenRequest,
        RunInfo as RunInfo,
    )
    from handfast.client.many import (
        Decided as Decided,
        Started as Started,
    )
    from handfast.client.records import (
        Erased as Erased,
    )
    from handfast.client.run import (
        Run as Run,
    )
    from handfast.client.session import (
        Session as Session,
    )
    from handfast.client.trouble import (
        Trouble as Trouble,
    )
    from handfast.client.turn import (
        Turn as Turn,
    )
    from handfast.definitions.agents.after_tools import (
        FinalOutput as FinalOutput,
        StopAt as StopAt,
        ToolResult as ToolResult,
    )
    from handfast.definitions.agents.agent import (
        Agent as Agent,
    )
    from handfast.definitions.agents.agent_tool import (
        AgentFailure as AgentFailure,
        AgentTool as AgentTool,
        NestedRun as NestedRun,
    )
    from handfast.definitions.agents.compaction import (
        Compact as Compact,
        Truncate as Truncate,
    )
    from handfast.definitions.agents.handoff import (
        Handoff as Handoff,
        HandoffHistory as HandoffHistory,
        handoff as handoff,
        messages_only as messages_only,
    )
    from handfast.definitions.agents.hooks import (
        AgentEnd as AgentEnd,
        AgentHooks as AgentHooks,
        AgentStart as AgentStart,
        HandoffTaken as HandoffTaken,
        ModelEnd as ModelEnd,
        ModelStart as ModelStart,
        ToolEnd as ToolEnd,
    )
    from handfast.definitions.agents.limits import (
        MaxTurns as MaxTurns,
        Refusal as Refusal,
    )
    from handfast.definitions.agents.model_choice import (
        ModelChoice as ModelChoice,
    )
    from handfast.definitions.agents.model_input import (
        ModelInput as ModelInput,
    )
    from handfast.definitions.agents.rejection import (
        Rejection as Rejection,
    )
    from handfast.definitions.context import (
        RunContext as RunContext,
        ToolArguments as ToolArguments,
        ToolContext as ToolContext,
    )
    from handfast.definitions.gates.approval import (
        Approval as Approval,
    )
    from handfast.definitions.gates.doubt import (
        Ask as Ask,
    )
    from handfast.definitions.gates.escalation import (
        Escalation as Escalation,
    )
    from handfast.definitions.gates.guardrails import (
        Allow as Allow,
        Fail as Fail,
        InputGuardrail as InputGuardrail,
        OutputGuardrail as OutputGuardrail,
        Replace as Replace,
    )
    from handfast.definitions.gates.model_reviewer import (
        ModelReviewer as ModelReviewer,
    )
    from handfast.definitions.gates.revalidation import (
        Changed as Changed,
    )
    from handfast.definitions.gates.review import (
        Opinion as Opinion,
        ReviewInput as ReviewInput,
    )
    from handfast.definitions.secret import (
        Secret as Secret,
    )
    from handfast.definitions.tools.content import (
        File as File,
        Image as Image,
        Text as Text,
    )
    from handfast.definitions.tools.custom import (
        custom_tool as custom_tool,
    )
    from handfast.definitions.tools.existing_activity import (
        activity_tool as activity_tool,
    )
    from handfast.definitions.tools.function_tool import (
        Tool as Tool,
        tool as tool,
    )
    from handfast.definitions.tools.hosted import (
        McpCall as McpCall,
        code_interpreter as code_interpreter,
        file_search as file_search,
        hosted_mcp as hosted_mcp,
        image_generation as image_generation,
        web_search as web_search,
    )
    from handfast.definitions.tools.mcp import (
        McpServer as McpServer,
    )
    from handfast.definitions.tools.options import (
        Retry as Retry,
        ToolInputGuardrail as ToolInputGuardrail,
    )
    from handfast.definitions.tools.question import (
        Question as Question,
        question as question,
    )
    from handfast.definitions.tools.shell import (
        ShellResult as ShellResult,
        shell_tool as shell_tool,
    )
    from handfast.deltas.stream import (
        DeltaStream as DeltaStream,
        InProcessDeltas as InProcessDeltas,
    )
    from handfast.encryption.keyring import (
        Keyring as Keyring,
    )
    from handfast.errors import (
        HandfastError as HandfastError,
        OutcomeUnknownError as OutcomeUnknownError,
        RefusalError as RefusalError,
        WaitingForPeople as WaitingForPeople,
    )
    from handfast.models.any_llm import (
        AnyLLMModel as AnyLLMModel,
    )
    from handfast.models.chat.model import (
        ChatCompletionsModel as ChatCompletionsModel,
    )
    from handfast.models.port import (
        ModelAnswer as ModelAnswer,
        ModelCallError as ModelCallError,
        ModelDelta as ModelDelta,
        ModelPort as ModelPort,
        ModelRequest as ModelRequest,
    )
    from handfast.models.prices import (
        Price as Price,
    )
    from handfast.models.responses import (
        ResponsesModel as ResponsesModel,
    )
    from handfast.payloads.deltas import (
        Delta as Delta,
        DeltasDiscarded as DeltasDiscarded,
    )
    from handfast.payloads.guardrails import (
        GuardrailResult as GuardrailResult,
    )
    from handfast.payloads.history import (
        Chain as Chain,
        Conversation as Conversation,
        KeptHistory as KeptHistory,
    )
    from handfast.payloads.messages import (
        MessageReceipt as MessageReceipt,
    )
    from handfast.payloads.notify import (
        Notification as Notification,
    )
    from handfast.payloads.remember import (
        Match as Match,
        Remember as Remember,
    )
    from handfast.payloads.requests import (
        Answer as Answer,
        Approve as Approve,
        Decision as Decision,
        GiveUp as GiveUp,
        Grant as Grant,
        LimitsRaised as LimitsRaised,
        Ran as Ran,
        Receipt as Receipt,
        Reject as Reject,
        Request as Request,
        RunAgain as RunAgain,
    )
    from handfast.payloads.review import (
        Review as Review,
        is_sampled as is_sampled,
    )
    from handfast.payloads.review_call import (
        ReviewMessage as ReviewMessage,
    )
    from handfast.payloads.runs import (
        RunResult as RunResult,
        RunStatus as RunStatus,
    )
    from handfast.payloads.sessions import (
        TurnResult as TurnResult,
    )
    from handfast.payloads.tool_call import (
        ToolProgress as ToolProgress,
    )
    from handfast.payloads.usage import (
        RequestUsage as RequestUsage,
        Usage as Usage,
    )
    from handfast.signing.signer import (
        Signer as Signer,
    )
    from handfast.signing.trusted_keys import (
        TrustedKey as TrustedKey,
        TrustedKeys as TrustedKeys,
    )
    from handfast.worker.plugin import (
        HandfastPlugin as HandfastPlugin,
    )
    from handfast.workflows.agent_ref import (
        AgentRef as AgentRef,
    )
    from handfast.workflows.host import (
        AgentHost as AgentHost,
    )
    from handfast.workflows.run import (
        AgentRun as AgentRun,
    )
    from handfast.workflows.session import (
        AgentSession as AgentSession,
    )

_HOMES = {
    "Agent": "definitions.agents.agent",
    "AgentEnd": "definitions.agents.hooks",
    "AgentFailure": "definitions.agents.agent_tool",
    "AgentHooks": "definitions.agents.hooks",
    "AgentHost": "workflows.host",
    "AgentRef": "workflows.agent_ref",
    "AgentRun": "workflows.run",
    "AgentSession": "workflows.session",
    "AgentStart": "definitions.agents.hooks",
    "AgentTool": "definitions.agents.agent_tool",
    "Allow": "definitions.gates.guardrails",
    "Answer": "payloads.requests",
    "AnyLLMModel": "models.any_llm",
    "Approval": "definitions.gates.approval",
    "Approve": "payloads.requests",
    "Ask": "definitions.gates.doubt",
    "Chain": "payloads.history",
    "Changed": "definitions.gates.revalidation",
    "ChatCompletionsModel": "models.chat.model",
    "Compact": "definitions.agents.compaction",
    "Conversation": "payloads.history",
    "Decided": "client.many",
    "Decision": "payloads.requests",
    "Delta": "payloads.deltas",
    "DeltaStream": "deltas.stream",
    "DeltasDiscarded": "payloads.deltas",
    "Erased": "client.records",
    "Escalation": "definitions.gates.escalation",
    "Fail": "definitions.gates.guardrails",
    "File": "definitions.tools.content",
    "FinalOutput": "definitions.agents.after_tools",
    "GiveUp": "payloads.requests",
    "Grant": "payloads.requests",
    "GuardrailResult": "payloads.guardrails",
    "Handfast": "client.client",
    "HandfastError": "errors",
    "HandfastPlugin": "worker.plugin",
    "Handoff": "definitions.agents.handoff",
    "HandoffHistory": "definitions.agents.handoff",
    "HandoffTaken": "definitions.agents.hooks",
    "Image": "definitions.tools.content",
    "InProcessDeltas": "deltas.stream",
    "InputGuardrail": "definitions.gates.guardrails",
    "KeptHistory": "payloads.history",
    "Keyring": "encryption.keyring",
    "LimitsRaised": "payloads.requests",
    "Match": "payloads.remember",
    "MaxTurns": "definitions.agents.limits",
    "McpCall": "definitions.tools.hosted",
    "McpServer": "definitions.tools.mcp",
    "MessageReceipt": "payloads.messages",
    "ModelAnswer": "models.port",
    "ModelCallError": "models.port",
    "ModelChoice": "definitions.agents.model_choice",
    "ModelDelta": "models.port",
    "ModelEnd": "definitions.agents.hooks",
    "ModelInput": "definitions.agents.model_input",
    "ModelPort": "models.port",
    "ModelRequest": "models.port",
    "ModelReviewer": "definitions.gates.model_reviewer",
    "ModelStart": "definitions.agents.hooks",
    "NestedRun": "definitions.agents.agent_tool",
    "Notification": "payloads.notify",
    "OpenRequest": "client.lists",
    "Opinion": "definitions.gates.review",
    "OutcomeUnknownError": "errors",
    "OutputGuardrail": "definitions.gates.guardrails",
    "Price": "models.prices",
    "Question": "definitions.tools.question",
    "Ran": "payloads.requests",
    "Receipt": "payloads.requests",
    "Refusal": "definitions.agents.limits",
    "RefusalError": "errors",
    "Reject": "payloads.requests",
    "Rejection": "definitions.agents.rejection",
    "Remember": "payloads.remember",
    "Replace": "definitions.gates.guardrails",
    "Request": "payloads.requests",
    "RequestUsage": "payloads.usage",
    "ResponsesModel": "models.responses",
    "Retry": "definitions.tools.options",
    "Review": "payloads.review",
    "ReviewInput": "definitions.gates.review",
    "ReviewMessage": "payloads.review_call",
    "Run": "client.run",
    "RunAgain": "payloads.requests",
    "RunContext": "definitions.context",
    "RunInfo": "client.lists",
    "RunResult": "payloads.runs",
    "RunStatus": "payloads.runs",
    "Secret": "definitions.secret",
    "Session": "client.session",
    "ShellResult": "definitions.tools.shell",
    "Signer": "signing.signer",
    "Started": "client.many",
    "StopAt": "definitions.agents.after_tools",
    "Text": "definitions.tools.content",
    "Tool": "definitions.tools.function_tool",
    "ToolArguments": "definitions.context",
    "ToolContext": "definitions.context",
    "ToolEnd": "definitions.agents.hooks",
    "ToolInputGuardrail": "definitions.tools.options",
    "ToolProgress": "payloads.tool_call",
    "ToolResult": "definitions.agents.after_tools",
    "Trouble": "client.trouble",
    "Truncate": "definitions.agents.compaction",
    "TrustedKey": "signing.trusted_keys",
    "TrustedKeys": "signing.trusted_keys",
    "Turn": "client.turn",
    "TurnResult": "payloads.sessions",
    "Usage": "payloads.usage",
    "WaitingForPeople": "errors",
    "activity_tool": "definitions.tools.existing_activity",
    "code_interpreter": "definitions.tools.hosted",
    "custom_tool": "definitions.tools.custom",
    "file_search": "definitions.tools.hosted",
    "handoff": "definitions.agents.handoff",
    "hosted_mcp": "definitions.tools.hosted",
    "image_generation": "definitions.tools.hosted",
    "is_sampled": "payloads.review",
    "messages_only": "definitions.agents.handoff",
    "question": "definitions.tools.question",
    "shell_tool": "definitions.tools.shell",
    "tool": "definitions.tools.function_tool",
    "web_search": "definitions.tools.hosted",
}
"""Where each public name is defined, below this package."""

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'handfast' has no attribute {name!r}")
    value = getattr(import_module(f"handfast.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
