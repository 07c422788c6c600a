"""Timeouts and retry policies of activities."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import RetryPolicy

from handfast.payloads.model_call import Effect, RetryPlan
from handfast.payloads.tool_call import TOOL_TIMEOUT

NEVER_RETRIED: Final = ["PayloadsTooLarge", "TypeError", "ValidationError"]
"""Error types whose repetition would repeat the work, not mend it."""

HEARTBEAT_TIMEOUT: Final = timedelta(seconds=5)
"""An activity that was not heard of for this long is taken to have died with its worker, which beats every second."""

MODEL_CALL: Final = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(minutes=10),
    schedule_to_close_timeout=timedelta(hours=1),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1),
        maximum_interval=timedelta(seconds=60),
        non_retryable_error_types=NEVER_RETRIED,
    ),
    cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
)
"""A model call is bounded by time, not by attempts: a provider's bad hour must not end a run of weeks."""


def model_call(task_queue: str | None) -> workflow.ActivityConfig:
    """The budget of one model call, on a task queue of its own or (None) on the run's."""
    return MODEL_CALL if task_queue is None else {**MODEL_CALL, "task_queue": task_queue}


MOST_WAITS: Final = 24 * 14
"""Most hours without any worker that are waited out for one model call: two weeks."""

MOST_UNDERWAY: Final = 24 * 7
"""Most model calls that wait for one background response, each for eight minutes: most of a day."""

EVALUATION: Final = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(seconds=30),
    schedule_to_close_timeout=timedelta(minutes=2),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    retry_policy=RetryPolicy(maximum_attempts=5, non_retryable_error_types=NEVER_RETRIED),
)
"""For what somebody waits for who can ask again: the check of a decision."""

PART_OF_RUN: Final = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(seconds=30),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    retry_policy=RetryPolicy(maximum_attempts=5, non_retryable_error_types=NEVER_RETRIED),
)
"""For what a run cannot go on without: where no worker is, it is waited for, as a run of weeks must not end for it."""

NOTIFICATION: Final = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(minutes=2),
    retry_policy=RetryPolicy(
        maximum_attempts=5, maximum_interval=timedelta(seconds=30), non_retryable_error_types=NEVER_RETRIED
    ),
)
"""Nothing waits for it. Where no worker is, it is told when one returns."""

REVIEW_GRACE: Final = timedelta(seconds=5)
"""Beyond the time that a review may take, which its worker enforces: the server's limit is the net below."""


def review(timeout_s: float, task_queue: str | None) -> workflow.ActivityConfig:
    """Return the budget of one review, its retries included: by then the request is left to people.

    Args:
        timeout_s: How long it may take.
        task_queue: Where the run's model calls go, which knows rules and models; None is the run's own.
    """
    whole = timedelta(seconds=min(timeout_s, LONGEST_TOOL_TIMEOUT_S)) + REVIEW_GRACE
    elsewhere = workflow.ActivityConfig() if task_queue is None else workflow.ActivityConfig(task_queue=task_queue)
    return workflow.ActivityConfig(
        **elsewhere,
        start_to_close_timeout=whole,
        schedule_to_close_timeout=whole,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=RetryPolicy(maximum_attempts=8, non_retryable_error_types=NEVER_RETRIED),
    )


TOLD_ONCE: Final = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(seconds=30),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    retry_policy=RetryPolicy(maximum_attempts=1),
)
"""For user code that may have an effect: whether it had one is not worth a repetition."""

GUARDRAIL: Final = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(seconds=90),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    retry_policy=RetryPolicy(
        maximum_attempts=8, maximum_interval=timedelta(seconds=30), non_retryable_error_types=NEVER_RETRIED
    ),
)
"""A guardrail has a minute, which its worker enforces. Where no worker is, it is waited for."""

COMPACTION: Final = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(minutes=10),
    schedule_to_close_timeout=timedelta(minutes=15),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    retry_policy=RetryPolicy(
        maximum_attempts=3, maximum_interval=timedelta(seconds=30), non_retryable_error_types=NEVER_RETRIED
    ),
    cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
)
"""A run can go on without: after a few attempts the model reads the whole conversation, and it is tried again later."""


def compaction(task_queue: str | None) -> workflow.ActivityConfig:
    """The budget of one compaction, which goes where the run's model calls go."""
    return COMPACTION if task_queue is None else {**COMPACTION, "task_queue": task_queue}


AFTER_TOOLS: Final = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(seconds=60),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    retry_policy=RetryPolicy(
        maximum_attempts=8, maximum_interval=timedelta(seconds=30), non_retryable_error_types=NEVER_RETRIED
    ),
)
"""A worker is waited for where there is none."""

TOOL_GUARDRAILS: Final = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(seconds=75),
    schedule_to_close_timeout=timedelta(minutes=5),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    retry_policy=RetryPolicy(maximum_attempts=3, non_retryable_error_types=NEVER_RETRIED),
)

VERIFICATION: Final = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(seconds=30),
    schedule_to_close_timeout=timedelta(minutes=2),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    retry_policy=RetryPolicy(maximum_attempts=4, non_retryable_error_types=NEVER_RETRIED),
)
"""After it a person is asked, who may know more."""

TOOL_HEARTBEAT: Final = timedelta(seconds=3)
TOOL_GRACE: Final = timedelta(seconds=90)
"""Beyond the tool's own timeout, which its worker enforces: the server's is only the net below."""
START_WITHIN: Final = timedelta(hours=1)
"""Longest wait of a tool on a task queue of its own for a worker, before a person is told."""
ONE_ATTEMPT: Final = RetryPolicy(maximum_attempts=1)
SEVERAL_ATTEMPTS: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(seconds=10),
    maximum_attempts=5,
    non_retryable_error_types=NEVER_RETRIED,
)
LONGEST_TOOL_TIMEOUT_S: Final = 365 * 86400.0
"""Longest timeout that a recorded plan may ask for: beyond it no clock can say when it ends."""


def tool_timeout(planned_s: float | None) -> timedelta:
    """Return how long a tool's body may take."""
    return timedelta(seconds=min(planned_s or TOOL_TIMEOUT.total_seconds(), LONGEST_TOOL_TIMEOUT_S))


def tool_call(
    timeout: timedelta, effect: Effect, task_queue: str | None = None, retry: RetryPlan | None = None
) -> workflow.ActivityConfig:
    """The budget of one tool call: one attempt where a second could repeat an effect, whatever its plan says."""
    elsewhere = workflow.ActivityConfig()
    if task_queue is not None:
        elsewhere = workflow.ActivityConfig(task_queue=task_queue, schedule_to_start_timeout=START_WITHIN)
    return workflow.ActivityConfig(
        **elsewhere,
        start_to_close_timeout=timeout + TOOL_GRACE,
        heartbeat_timeout=TOOL_HEARTBEAT,
        retry_policy=ONE_ATTEMPT if effect == "at_most_once" else _several_attempts(retry),
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )


def _several_attempts(retry: RetryPlan | None) -> RetryPolicy:
    if retry is None:
        return SEVERAL_ATTEMPTS
    return RetryPolicy(
        initial_interval=timedelta(seconds=min(retry.first_pause_s, LONGEST_TOOL_TIMEOUT_S)),
        maximum_interval=timedelta(seconds=min(retry.longest_pause_s, LONGEST_TOOL_TIMEOUT_S)),
        maximum_attempts=retry.attempts,
        non_retryable_error_types=NEVER_RETRIED,
    )
