"""Activities that exist already: what they are given, and what their result is to the model. Pure."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Final

from temporalio import workflow

from handfast.errors import JsonProfileError
from handfast.payloads.base import Undecodable, json_size
from handfast.payloads.cutting import cut
from handfast.payloads.json_profile import JsonObject, JsonValue, check_json, scrub, spelled_integers, whole_numbers
from handfast.payloads.model_call import Effect, ExistingActivity
from handfast.payloads.tool_call import ERROR_TEXT_BYTES, RESULT_BYTES, WORKER_BYTES
from handfast.workflows.frame.items import is_part
from handfast.workflows.tasks import timeouts

UNSETTLED: Final = frozenset(
    {
        *("ActivityPause", "ActivityReset", "CancelledError", "PayloadsTooLarge", "WorkerShutdown"),
        "io.temporal.client.ActivityWorkerShutdownException",
    }
)
"""Failures by which a worker says that it stopped the activity, or lost its result: not how the effect ended."""

FACT_BYTES: Final = 1000
"""Most bytes of another's error that a request carries."""


def options(
    activity: ExistingActivity, timeout: timedelta, effect: Effect, task_queue: str | None
) -> workflow.ActivityConfig:
    """Return the options of the activity. Without heartbeats it hears of no cancel, so none is awaited."""
    beat = activity.heartbeat_s
    config = workflow.ActivityConfig(
        schedule_to_start_timeout=timedelta(seconds=activity.start_within_s),
        start_to_close_timeout=timeout,
        retry_policy=timeouts.ONE_ATTEMPT if effect == "at_most_once" else timeouts.SEVERAL_ATTEMPTS,
        cancellation_type=(
            workflow.ActivityCancellationType.TRY_CANCEL
            if beat is None
            else workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
        ),
    )
    if beat is not None:
        config["heartbeat_timeout"] = timedelta(seconds=beat)
    if task_queue is not None:
        config["task_queue"] = task_queue
    return config


def argument(activity: ExistingActivity, arguments: JsonObject, key: str) -> JsonObject | None:
    """The activity's one argument; None where it takes none. ``1.0`` is sent as ``1``: not every language reads the
    first as an integer."""
    if not activity.argument:
        return None
    arguments = whole_numbers(arguments)
    return arguments if activity.key_field is None else {**arguments, activity.key_field: key}


def read_result(value: object) -> tuple[JsonValue, str | None]:
    """Turn the result of an activity into an output.

    Returns:
        The output, and the problem where it is none.
    """
    if value is None:
        return "", None
    if isinstance(value, Undecodable):
        return None, f"Error: the activity ran, but its result cannot be decoded: {value.problem}"
    if isinstance(value, str):
        return cut(scrub(value), RESULT_BYTES)[0], None
    try:
        value = _carried(value)
    except JsonProfileError as error:
        return None, f"Error: the activity ran, but its result cannot be given to you as JSON: {error.problem}"
    if isinstance(value, list) and value and all(is_part(part) for part in value):
        size = json_size(value)
        if size > RESULT_BYTES:
            return None, f"Error: the activity ran, but its result takes {size:,} bytes; at most {RESULT_BYTES:,} can"
        return value, None
    return cut(json.dumps(value, ensure_ascii=False), RESULT_BYTES)[0], None


def error_text(kind: str, message: str) -> str:
    """Return the output of an activity that failed."""
    return cut(scrub(f"Error: {kind}: {message}"), ERROR_TEXT_BYTES)[0]


def facts(kind: str, message: str, worker: str | None = None) -> JsonObject:
    """Return the facts of an activity whose outcome is unknown, for the request about it."""
    known = {} if worker is None else {"worker": cut(scrub(worker), WORKER_BYTES)[0]}
    return {"ended": cut(scrub(kind), FACT_BYTES)[0], "detail": cut(scrub(message), FACT_BYTES)[0], **known}


def _carried(value: object) -> JsonValue:
    """The value as JSON that arrives everywhere.

    Most values are that already: a copy of two megabytes would be half a second of a workflow task.
    """
    try:
        check_json(value)
    except JsonProfileError:
        value = spelled_integers(value)
        check_json(value)
    found: JsonValue = value  # type: ignore[assignment]  # checked above
    return found
