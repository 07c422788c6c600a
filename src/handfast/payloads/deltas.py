"""Deltas: text of a running model call or tool, for watchers; it enters no history."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from handfast.payloads.base import Payload
from handfast.payloads.json_profile import JsonObject

MOST_ENTRIES: Final = 10_000
"""Most deltas of one run that a stream keeps: some minutes of writing. Older ones make room."""
DELTA_CHARS: Final = 4096
"""Most characters of one delta's text."""


class DeltaPlace(Payload):
    """Place of a delta: run, loop, turn and attempt.

    Attributes:
        run: Run id of the first Temporal run of the workflow, as in `Origin.workflow_run`.
        frame: The agent loop: the run's own, or that of an agent used as a tool.
        turn: The turn that the model call makes, from 1; of a tool the turn that called it.
        attempt: One attempt of one activity. The text is opaque; equal for everything that the attempt says.
        offset: Given by `Run.stream`: where a reader goes on that has had this.
    """

    run: str
    frame: str
    agent_path: list[str]
    turn: int
    attempt: str
    offset: str = ""


class Delta(DeltaPlace):
    """A piece of a reply that is being written, or the progress of a running tool.

    Attributes:
        seq: Its number within the attempt, from 0. Where one is missing, pieces were lost on the way: the reply that
            follows is whole all the same.
        kind: *text*: what the model says, a refusal included. *reasoning*: the summary of its reasoning. *arguments*:
            of a call that it is about to make. *tool_progress*: see `ToolContext.progress`.
        text: To be appended to what came before of the same `item`; a *tool_progress* replaces what came before.
        item: Position of the item in the reply; None for *tool_progress*.
        call_id: Of the call whose *arguments* are written, or that tells its progress.
        done: Of a *tool_progress*: how much of `total`.
    """

    type: Literal["delta"] = "delta"
    seq: int
    kind: Literal["text", "reasoning", "arguments", "tool_progress"]
    text: str
    item: int | None = None
    call_id: str | None = None
    done: float | None = None
    total: float | None = None


class DeltasDiscarded(DeltaPlace):
    """The deltas of an attempt are void: it failed, and another may begin anew; or a guardrail withdrew its text."""

    type: Literal["deltas_discarded"] = "deltas_discarded"


DeltaRecord = Annotated[Delta | DeltasDiscarded, Field(discriminator="type")]
_RECORD: Final[TypeAdapter[Delta | DeltasDiscarded]] = TypeAdapter(DeltaRecord)


def attempt_id(workflow_run: str, activity_id: str, attempt: int) -> str:
    """Return an id of an activity's attempt that is unique in a chain of Temporal runs."""
    return f"{workflow_run[-12:]}.{activity_id}.{attempt}"


def segment_of(attempt: str) -> str:
    """Return the end of the Temporal run id that an attempt belongs to."""
    return attempt.partition(".")[0]


def call_of_attempt(attempt: str) -> str:
    """Return the part that the ids of one activity's attempts share."""
    return attempt.rpartition(".")[0]


def number_of_attempt(attempt: str) -> int:
    """Return the number of an attempt, from 1; 0 where another program wrote the id."""
    number = attempt.rpartition(".")[2]
    return int(number) if number.isdecimal() else 0


def read_record(value: object) -> Delta | DeltasDiscarded | None:
    """Read one record; None where a later version wrote it."""
    try:
        return _RECORD.validate_python(value)
    except ValidationError:
        return None


def records_to_wire(records: list[Delta | DeltasDiscarded]) -> list[JsonObject]:
    """Return records as they travel together."""
    return [record.model_dump(mode="json", exclude_none=True, exclude={"offset"}) for record in records]
