"""`Case`: what the desk's agents and tools are told about a ticket beside its text."""

from __future__ import annotations

from pydantic import BaseModel


class Case(BaseModel):
    """The context of a run.

    Attributes:
        customer: Whose orders the tools see; None sees none. Whoever starts the run says it, never the model.
    """

    customer: str | None = None
