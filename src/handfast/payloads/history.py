"""Histories that the model's provider keeps: a chain of responses, or a conversation."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import ConfigDict, Field

from handfast.payloads.base import Name, Payload
from handfast.payloads.json_profile import JsonObject


class Chain(Payload):
    """Each request continues the response before it, which the provider stores, and sends only what is new.

    Attributes:
        previous_response_id: A stored response that the first request continues; None begins anew.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["chain"] = "chain"
    previous_response_id: Name | None = None

    def __init__(self, previous_response_id: str | None = None, **data: Any) -> None:
        """Name the stored response that the first request continues, if there is one."""
        values: dict[str, Any] = {"previous_response_id": previous_response_id, **data}
        super().__init__(**values)


class Conversation(Payload):
    """The provider keeps a conversation; each request sends only what is new.

    While a run goes on nothing else may write into its conversation: what a lost attempt left there is deleted.

    Attributes:
        id: A conversation that is there already; None makes one.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["conversation"] = "conversation"
    id: Name | None = None

    def __init__(self, id: str | None = None, **data: Any) -> None:
        """Name the conversation, if there is one."""
        values: dict[str, Any] = {"id": id, **data}
        super().__init__(**values)


History = Annotated[Chain | Conversation, Field(discriminator="kind")]


GivenHistory: TypeAlias = Literal["chain", "conversation"] | Chain | Conversation


def history_to_wire(given: GivenHistory | None) -> JsonObject | None:
    """Return *given* as a run's input holds it; the run finds out if the provider has it."""
    if given is None:
        return None
    return given.to_wire() if isinstance(given, Payload) else {"kind": given}


class KeptHistory(Payload):
    """Recorded state of one loop's conversation at its provider.

    Attributes:
        response: *chain*: the response that the next request continues.
        base: *chain*: the response that was there before the run.
        conversation: *conversation*: its id, once it is known to be there.
        given: *conversation*: it was there before the run, so it cannot be made anew.
        ready: *conversation*: which item was its last before the run is known.
        item: *conversation*: the last item that is meant to be in it.
        holds: Block of the last reply that is kept there; None: nothing of this loop is.
        uncertain: *conversation*: a request may have left items there after `item`.
        rebuilt: How often the provider had forgotten it, and it was sent in full again.
    """

    kind: Literal["chain", "conversation"]
    response: str | None = None
    base: str | None = None
    conversation: str | None = None
    given: bool | None = None
    ready: bool | None = None
    item: str | None = None
    holds: str | None = None
    uncertain: bool | None = None
    rebuilt: int | None = None

    @classmethod
    def begin(cls, given: Chain | Conversation | None) -> Self | None:
        """Return what is kept before the first call; None where the conversation is sent in full."""
        match given:
            case Chain(previous_response_id=base):
                return cls(kind="chain", response=base, base=base)
            case Conversation(id=known):
                return cls(kind="conversation", conversation=known, given=True if known else None)
        return None
