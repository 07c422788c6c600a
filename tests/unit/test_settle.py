"""What the failure of an activity means."""

from __future__ import annotations

import pytest
from temporalio.exceptions import ActivityError, ApplicationError, RetryState

from handfast.workflows.tasks.await_activity import Failed, ending_of


def ending(text: str, kind: str) -> Failed:
    """How the activity *charge* has ended that failed so."""
    error = ActivityError(
        "activity failed",
        scheduled_event_id=1,
        started_event_id=2,
        identity="w",
        activity_type="charge",
        activity_id="1",
        retry_state=RetryState.MAXIMUM_ATTEMPTS_REACHED,
    )
    error.__cause__ = ApplicationError(text, type=kind)
    ended = ending_of(error)
    assert isinstance(ended, Failed)
    return ended


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        pytest.param(
            "Activity function charge for workflow w-1 is not registered on this worker, available activities: a, b",
            "NotFoundError",
            id="python",
        ),
        pytest.param(
            'Activity function charge is not registered on this Worker, available activities: ["a"]',
            "NotFoundError",
            id="typescript",
        ),
        pytest.param(
            "Activity charge is not registered on this worker, available activities: a", "NotFoundError", id="dotnet"
        ),
        pytest.param(
            "unable to find activityType=charge. Supported types: [a, b]", "ActivityNotRegisteredError", id="go"
        ),
        pytest.param(
            'Activity Type "charge" is not registered with a worker. Known types are: a',
            "java.lang.IllegalArgumentException",
            id="java",
        ),
    ],
)
def test_a_worker_that_lacks_an_activity_is_told_by_its_words(text: str, kind: str) -> None:
    """Each SDK says in its own way that it has run nothing."""
    assert ending(text, kind).not_registered


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        pytest.param("the customer is not registered", "NotFoundError", id="own-words"),
        pytest.param(
            "Activity function refund is not registered on this worker, available activities: a",
            "NotFoundError",
            id="about-another",
        ),
        pytest.param("unable to find activityType in the request", "ActivityNotRegisteredError", id="own-kind"),
        pytest.param(
            "Activity function charge is not registered on this worker, available activities: a",
            "ValueError",
            id="other-kind",
        ),
        pytest.param("", "NotFoundError", id="empty"),
    ],
)
def test_what_an_activity_raises_itself_is_its_ending(text: str, kind: str) -> None:
    """It ran, so that it must not be run again."""
    assert not ending(text, kind).not_registered
