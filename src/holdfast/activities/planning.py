"""Plans what follows a reply: which calls run, which wait for a person, which cannot be answered by a tool."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Sequence
from concurrent.futures import Executor
from typing import Any, Final

from pydantic import BaseModel
from temporalio.exceptions import ApplicationError

from holdfast.activities.outputs import bounded_error
from holdfast.activities.rules import RULE_S, ask_rule
from holdfast.activities.user_code import UserCodeError, call_user_code
from holdfast.agent import Agent
from holdfast.context import RunContext
from holdfast.errors import ArgumentsInvalidError
from holdfast.offered import Offered
from holdfast.payloads.json_profile import JsonObject
from holdfast.payloads.model_call import ApprovalPlan, PlannedCall
from holdfast.tools import Tool

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
        self._offered = agent.offered

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
        offered = self._offered.get(item["name"])
        if offered is None:
            known = ", ".join(sorted(self._offered)) or "none"
            return PlannedCall(
                index=index,
                kind="unknown",
                text=f"Error: there is no tool {item['name'][:64]!r}; there are: {known}",
            )
        try:
            model = offered.validate(offered.parse_text(item["arguments"]))
        except ArgumentsInvalidError as error:
            return PlannedCall(index=index, kind="invalid", text=f"Error: {error}")
        except Exception as error:  # noqa: BLE001 - a validator of the user's may raise anything
            return PlannedCall(index=index, kind="invalid", text=bounded_error(error))
        match offered:
            case Tool():
                return await self._tool(index, offered, model)
        raise AssertionError(f"{type(offered).__name__} has no plan")

    async def _tool(self, index: int, tool: Tool[..., Any], arguments: BaseModel) -> PlannedCall:
        key: str | None = None
        if tool.idempotency_key is not None:
            try:
                asking = call_user_code(tool.idempotency_key, self._context, arguments, threads=self._threads)
                key = str(await asyncio.wait_for(asking, RULE_S))
            except (TimeoutError, UserCodeError) as error:  # the call must not run under a wrong key
                problem = f"raised {error.kind}" if isinstance(error, UserCodeError) else f"took over {RULE_S:g} s"
                return PlannedCall(index=index, kind="invalid", text=f"Error: the idempotency key {problem}")
        approval = await self._approval(tool, arguments)
        return PlannedCall(
            index=index,
            kind="run" if approval is None else "ask",
            approval=approval,
            effect=None if tool.effect == "at_most_once" else tool.effect,
            on_unknown=tool.on_unknown,
            on_error=None if tool.on_error == "tell_model" else tool.on_error,
            timeout_s=tool.timeout.total_seconds() if tool.timeout.total_seconds() != 600 else None,
            key=key,
            worded=self._worded(approval),
        )

    def _worded(self, approval: ApprovalPlan | None) -> bool | None:
        return True if approval is not None and self._agent.rejection_text is not None else None

    async def _approval(self, offered: Offered, arguments: BaseModel) -> ApprovalPlan | None:
        return await ask_rule(offered.approval, self._context, arguments, self._threads)


def _invalid(message: str) -> ApplicationError:
    return ApplicationError(message, type="ModelReplyInvalid", non_retryable=True)
