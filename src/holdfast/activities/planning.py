"""Plans what follows a reply: which calls run, which wait for a person, which cannot be answered by a tool."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Sequence
from concurrent.futures import Executor
from typing import Any, Final

from temporalio.exceptions import ApplicationError

from holdfast.activities.outputs import bounded_error
from holdfast.activities.user_code import UserCodeError, call_user_code
from holdfast.agent import Agent
from holdfast.approval import Approval
from holdfast.context import RunContext
from holdfast.errors import ArgumentsInvalidError
from holdfast.payloads.json_profile import JsonObject
from holdfast.payloads.model_call import ApprovalPlan, PlannedCall
from holdfast.tools import Tool

RULE_S: Final = 5.0
"""How long an approval rule may take before a person is asked instead."""
REASON_CHARACTERS: Final = 2000
"""Of a rule's reason that a person is shown."""
MOST_CALLS: Final = 256
"""Calls of one reply that are carried out; the others are sent back to the model."""
LONGEST_CALL_ID: Final = 256
"""The id travels in every activity and request of the call; providers stay below 64 characters."""
UNANSWERABLE: Final = frozenset(
    {
        "custom_tool_call",
        "computer_call",
        "local_shell_call",
        "shell_call",
        "apply_patch_call",
        "mcp_approval_request",
    }
)
"""Calls that wait for an answer of a kind that no tool of ours gives."""


def answerable(items: Sequence[JsonObject], used: Collection[str] = ()) -> list[JsonObject]:
    """Drop calls that repeat another word for word; refuse a reply whose calls cannot be told apart.

    Args:
        items: The reply.
        used: Call ids of earlier turns: a call that takes one again gets a new one, as an id may be answered once only.

    Raises:
        ApplicationError: ``ModelReplyInvalid``: two different calls share an id, a call has none, or it is of a kind
            that was never offered.
    """
    seen: dict[str, JsonObject] = {}
    kept: list[JsonObject] = []
    for item in items:
        kind = item["type"]
        if kind in UNANSWERABLE:
            raise _invalid(f"the model made a {kind}, which it was not offered")
        if kind != "function_call":
            kept.append(item)
            continue
        call_id, name, arguments = item.get("call_id"), item.get("name"), item.get("arguments")
        if not isinstance(call_id, str) or not call_id or not isinstance(name, str):
            raise _invalid("the model made a call without an id or a name")
        if len(call_id) > LONGEST_CALL_ID:
            raise _invalid(f"the model made a call with an id of {len(call_id):,} characters")
        if not isinstance(arguments, str):
            raise _invalid(f"the arguments of call {call_id} are no text")
        if not arguments:
            # How some models call a function without parameters; sent back like this, the API would refuse it.
            arguments = "{}"
            item = {**item, "arguments": arguments}  # noqa: PLW2901 - the call as it is kept
        known = seen.setdefault(call_id, item)
        if known is item:
            kept.append(item if call_id not in used else {**item, "call_id": f"call_{uuid.uuid4().hex}"})
        elif (known["name"], known["arguments"]) != (name, arguments):
            raise _invalid(f"two different calls have the id {call_id}; none of this reply was run")
    return kept


class Planner:
    """Looks every call of one reply up in the agent, validates it, and asks its approval rule: once, and never
    again."""

    def __init__(self, agent: Agent, context: RunContext[Any], threads: Executor) -> None:
        self._agent = agent
        self._context = context
        self._threads = threads
        self._tools = {tool.name: tool for tool in agent.tools}

    async def plan(self, items: Sequence[JsonObject]) -> list[PlannedCall]:
        """Plan every call among *items*, in their order; rules of one reply are asked side by side."""
        calls = [(index, item) for index, item in enumerate(items) if item["type"] == "function_call"]
        return list(
            await asyncio.gather(*(self._plan(index, item, place) for place, (index, item) in enumerate(calls)))
        )

    async def _plan(self, index: int, item: JsonObject, place: int) -> PlannedCall:
        if place >= MOST_CALLS:
            return PlannedCall(
                index=index,
                kind="invalid",
                text=f"Error: more than {MOST_CALLS} calls in one reply; this one was not run.",
            )
        tool = self._tools.get(item["name"])
        if tool is None:
            known = ", ".join(sorted(self._tools)) or "none"
            return PlannedCall(
                index=index,
                kind="unknown",
                text=f"Error: there is no tool {item['name'][:64]!r}; there are: {known}",
            )
        try:
            arguments = tool.parse_text(item["arguments"])
            model = tool.validate(arguments)
        except ArgumentsInvalidError as error:
            return PlannedCall(index=index, kind="invalid", text=f"Error: {error}")
        except Exception as error:  # noqa: BLE001 - a validator of the user's may raise anything
            return PlannedCall(index=index, kind="invalid", text=bounded_error(error))
        key: str | None = None
        if tool.idempotency_key is not None:
            try:
                asking = call_user_code(tool.idempotency_key, self._context, model, threads=self._threads)
                key = str(await asyncio.wait_for(asking, RULE_S))
            except (TimeoutError, UserCodeError) as error:  # the call must not run under a wrong key
                problem = f"raised {error.kind}" if isinstance(error, UserCodeError) else f"took over {RULE_S:g} s"
                return PlannedCall(index=index, kind="invalid", text=f"Error: the idempotency key {problem}")
        approval = await self._approval(tool, model)
        return PlannedCall(
            index=index,
            kind="run" if approval is None else "ask",
            approval=approval,
            effect=None if tool.effect == "at_most_once" else tool.effect,
            on_unknown=tool.on_unknown,
            on_error=None if tool.on_error == "tell_model" else tool.on_error,
            timeout_s=tool.timeout.total_seconds() if tool.timeout.total_seconds() != 600 else None,
            key=key,
            worded=True if approval is not None and self._agent.rejection_text is not None else None,
        )

    async def _approval(self, tool: Tool[..., Any], model: Any) -> ApprovalPlan | None:
        """Evaluate the tool's rule. A rule that raises, hangs or answers nonsense asks a person: fail closed."""
        rule = tool.approval
        if rule is False:
            return None
        if rule is True:
            return ApprovalPlan()
        if isinstance(rule, Approval):
            return _as_plan(rule)
        try:
            asking = call_user_code(rule, self._context, model, threads=self._threads)
            answer = await asyncio.wait_for(asking, RULE_S)
        except TimeoutError:
            return ApprovalPlan(reason=f"the approval rule took longer than {RULE_S:g} s")
        except UserCodeError as error:
            return ApprovalPlan(reason=f"the approval rule raised {error.kind}")
        if answer is None or answer is False:
            return None
        if answer is True:
            return ApprovalPlan()
        if isinstance(answer, Approval):
            return _as_plan(answer)
        return ApprovalPlan(reason=f"the approval rule answered {type(answer).__name__}, not an Approval or None")


def _as_plan(approval: Approval) -> ApprovalPlan:
    return ApprovalPlan(
        deadline_s=approval.deadline.total_seconds() if approval.deadline is not None else None,
        on_deadline=None if approval.on_deadline == "reject" else approval.on_deadline,
        reason=approval.reason[:REASON_CHARACTERS] if approval.reason is not None else None,
    )


def _invalid(message: str) -> ApplicationError:
    return ApplicationError(message, type="ModelReplyInvalid", non_retryable=True)
