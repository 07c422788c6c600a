"""Counts of tokens and requests."""

from __future__ import annotations

from handfast.payloads.base import Payload


class Usage(Payload):
    """Counts of the model provider; one request is one reply, also one that could not be used."""

    requests: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0

    def plus(self, other: Usage) -> Usage:
        """Return the sum of both."""
        return Usage(
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            total_tokens=self.total_tokens + other.total_tokens,
        )


class RequestUsage(Payload):
    """Usage of one model reply.

    Attributes:
        agent_path: From the run's agent down to the one that asked.
        turn: That it was, or was to be, of the agent's loop: a reply that could not be used takes no turn.
        model: Name of the model that was asked.
    """

    agent: str
    agent_path: list[str]
    turn: int
    model: str | None = None
    usage: Usage


class Spent(Payload):
    """Detail of a model call's failure: usage of a reply that could not be used."""

    usage: Usage
    model: str | None = None
