"""Naming sessions: what a session begins with is checked before its first message is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

from handfast.client.session import Session
from handfast.client.session_start import Opening
from handfast.client.start import UNSET, Starting, _Unset
from handfast.errors import PayloadInvalidError
from handfast.payloads.json_profile import JsonObject, scrub
from handfast.payloads.runs import context_to_wire
from handfast.payloads.sessions import OnBusy, SessionInput

ID_BYTES: Final = 1000
"""Longest workflow id that the server takes by default."""


class Conversing(Starting):
    """Opens sessions."""

    def session(
        self,
        id: str,
        *,
        agent: str | None = None,
        import_items: Sequence[JsonObject] = (),
        context: JsonObject | BaseModel | None = None,
        max_turns: int | _Unset | None = UNSET,
        labels: Mapping[str, str] | None = None,
        requested_by: str | None = None,
        on_message: OnBusy = "queue",
        stream: bool = False,
        segment_events: int | None = None,
        model_queue: str | None = None,
    ) -> Session:
        """Name a conversation. With an *agent* its first message creates it, and everything else says how it begins;
        where it goes on already, none of that matters.

        Args:
            id: The workflow id: one conversation has it, for ever.
            agent: Who answers. None: the session has to exist.
            import_items: What was said before, as the Responses API takes it.
            context: As `start` takes it.
            max_turns: Most model replies for one message; None lifts the agent's own limit.
            labels: Up to 20, to find the session by.
            requested_by: Who asked for it: a claimed name, recorded.
            on_message: What happens to a message while another one is being answered: it waits for a turn of its own
                (*queue*), goes into the turn under way before the next model call (*steer*), or is refused.
            stream: Tell what the model writes while it writes it.
            segment_events: Events of its Temporal history after which it goes on in a fresh one.
            model_queue: Task queue of its model calls.

        Raises:
            PayloadInvalidError: It cannot begin so: the id can be none, wrong items, labels or context, or more than
                1.9 MB.
        """
        _check_id(id)
        if agent is None:
            return Session(self.client, id, stores=self.stores)
        given: dict[str, Any] = {
            "agent": agent,
            "import_items": list(import_items),
            "context": context_to_wire(context),
            "labels": dict(labels or {}),
            "requested_by": requested_by,
            "on_message": on_message,
            "stream": stream or None,
            "segment_events": segment_events,
            "model_queue": model_queue or self.model_queue,
        }
        if not isinstance(max_turns, _Unset):
            given["max_turns"] = max_turns
        checked = SessionInput.from_wire(given)
        wire = checked.to_start()
        opening = Opening(
            self.client,
            self.task_queue,
            id,
            wire,
            attributes=self._attributes(checked),
            task_timeout=self.task_timeout,
            warn=self._warn,
            check=self._check_size,
        )
        return Session(self.client, id, opening, self.stores)


def _check_id(session_id: str) -> None:
    size = len(session_id.encode("utf-8", "surrogatepass"))
    if not 0 < size <= ID_BYTES or scrub(session_id) != session_id:
        raise PayloadInvalidError("session", [f"id: a text of 1 to {ID_BYTES:,} bytes is needed"])
