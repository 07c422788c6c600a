"""The deployment of a run, as its workers describe it."""

from __future__ import annotations

from pydantic import BaseModel

from handfast.payloads.model_call import ModelReply


class Deployment(BaseModel):
    """Facts of the deployment that model replies tell.

    Each is sticky: once a reply has told it, it holds for the rest of the run.

    Attributes:
        archives: Workers have an archive, into which the run's history goes.
        notifies: Workers have a function that people are told by.
        attributes: Search attributes that the namespace has; None where no reply has told it. An upsert of a missing
            one stops a workflow for ever.
        keeps: Workers keep outside the history what is too large for it. Each history asks this anew.
        probed_in: Run id of the history that has asked it.
    """

    archives: bool = False
    notifies: bool = False
    attributes: list[str] | None = None
    keeps: bool = False
    probed_in: str | None = None

    def take(self, reply: ModelReply) -> None:
        """Take the facts that every reply tells."""
        self.archives = self.archives or bool(reply.archive)
        self.notifies = self.notifies or bool(reply.notify)

    def take_probe(self, reply: ModelReply, history: str) -> None:
        """Take the facts that a probe asks for, from a reply of the model in *history*."""
        if reply.attributes is not None:
            self.attributes = reply.attributes
        if self.probed_in != history:
            self.probed_in, self.keeps = history, bool(reply.keeps)

    def needs_probe(self, history: str) -> bool:
        """Return whether a model call in *history* is to probe."""
        return self.attributes is None or self.probed_in != history
