"""Steer a run that goes on: its limits, one of its calls, its end, what it is told."""

from __future__ import annotations

import math
import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Literal

from pydantic import ValidationError
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from handfast.client.handle import Handle
from handfast.client.transcript import place_of
from handfast.encryption.converter import concealed
from handfast.errors import DecisionInvalidError, RunEndedError, RunNotFoundError
from handfast.payloads.base import json_size, problems_of
from handfast.payloads.cutting import reason_text
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.media import with_references
from handfast.payloads.messages import MESSAGE_BYTES, MessageReceipt, checked_message
from handfast.payloads.requests import CallCancelled, CancelCall, LimitsRaised, RaiseLimits
from handfast.storage.artifacts import keep_media
from handfast.temporal.rpc import typed_errors


async def stop(run: Handle, reason: str) -> None:
    """See `Execution.stop`."""
    description = await run.describe()
    with typed_errors(run.client, run.id):
        try:
            await run.workflow.signal(f"{run.prefix(description)}stop", {"reason": reason_text(reason)})
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise run.ended(await run.describe()) from error
            raise


async def raise_limits(
    run: Handle,
    *,
    turns: int | None,
    tokens: int | None,
    duration: timedelta | None,
    cost: Decimal | float | str | None,
    by: str | None,
    frame: str | None,
    session: bool,
) -> LimitsRaised:
    """See `Execution.raise_limits`."""
    try:
        seconds = None if duration is None else math.ceil(duration.total_seconds())
        given = RaiseLimits(
            turns=turns,
            tokens=tokens,
            seconds=seconds,
            cost=cost,  # type: ignore[arg-type] # read as an amount: a number or a text of one
            by=by,
            frame=frame,
            session=True if session else None,
        )
    except ValidationError as error:
        raise DecisionInvalidError("; ".join(problems_of(error))) from None
    return LimitsRaised.from_wire(await run.update("raise_limits", given.to_wire()))


async def cancel_call(
    run: Handle, call_id: str, *, reason: str | None, by: str | None, frame: str | None
) -> CallCancelled:
    """See `Execution.cancel_call`."""
    try:
        given = CancelCall(call_id=call_id, reason=reason, by=by, frame=frame)
    except ValidationError as error:
        raise DecisionInvalidError("; ".join(problems_of(error))) from None
    return CallCancelled.from_wire(await run.update("cancel_call", given.to_wire()))


async def cancel(run: Handle, reason: str, mode: Literal["now", "after_turn"]) -> bool:
    """See `Execution.cancel`."""
    if mode == "after_turn":
        try:
            await stop(run, reason)
        except RunEndedError:
            return False
        return True
    if (await run.describe()).status is not WorkflowExecutionStatus.RUNNING:
        return False
    try:
        with typed_errors(run.client, run.id):
            await run.workflow.cancel(reason=await concealed(reason_text(reason), run.converter))
    except RunNotFoundError:
        return False  # it ended in between
    return True


async def fitting_items(run: Handle, items: list[JsonObject]) -> list[JsonObject]:
    """Return the items of a message, with references in place of images and files where it would be too large.

    Raises:
        ArtifactError: The store did not take one.
    """
    place = place_of(run)
    try:
        fits = place is None or json_size(items) <= MESSAGE_BYTES // 2
    except (TypeError, ValueError, RecursionError):
        return items  # refused as no message
    if fits or place is None:
        return items
    data: dict[str, bytes] = {}
    referring: list[JsonObject] = with_references(items, data)
    await keep_media(place, data)
    return referring


async def send(
    run: Handle,
    message: str | list[JsonObject],
    *,
    when: Literal["next", "now"],
    message_id: str | None,
    by: str | None,
    frame: str | None,
) -> MessageReceipt:
    """See `Run.send`."""
    said = {"text": message} if isinstance(message, str) else {"items": await fitting_items(run, message)}
    given = checked_message({**said, "when": when, "id": message_id or str(uuid.uuid4()), "by": by, "frame": frame})
    # A new update for each try, unlike `decide`: to an update id that it knows the server itself gives the first
    # answer, and who sends a message again wants to hear what has become of it since.
    answer = await run.update_or_signal("send", given.to_wire(), str(uuid.uuid4()))
    if answer is not None:
        return MessageReceipt.from_wire(answer)
    return MessageReceipt(id=str(given.id), state="stored")
