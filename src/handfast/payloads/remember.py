"""Decisions that also answer later calls of a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_serializer, model_validator

from handfast.payloads.base import Instant, Payload
from handfast.payloads.json_profile import JsonValue
from handfast.payloads.matching import problem_of

RememberedFor = Literal["arguments", "tool", "match"]
RememberScope = Literal["agent", "run"]


class Remember(Payload):
    """Scope of a remembered decision: later calls of the run that it answers too.

    On the wire ``"arguments"``, ``"tool"``, ``{"match": {…}, "scope"?}`` or, for all of them, ``{"for": …, "scope"?}``;
    the last two take *uses* and *until* too.

    Attributes:
        of: *arguments*: the same tool with exactly these arguments. *tool*: the same tool with any. *match*: the same
            tool, where each parameter in `match` fits its pattern and all others are equal.
        match: A pattern for each parameter that may differ; see `Match`.
        scope: *agent*: calls of the same agent. *run*: calls of every agent's tool of that name.
        uses: How many further calls it answers at most; the next one is asked about. None: as many as come.
        until: When it ends, as an aware datetime: calls that come then are asked about. None: with the run.
    """

    of: RememberedFor
    match: dict[str, str] | None = None
    scope: RememberScope = "agent"
    uses: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    until: Instant | None = None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        if isinstance(value, str):
            return {"of": value}
        if not isinstance(value, dict) or "of" in value:
            return value
        return {"of": value.get("for", "match" if "match" in value else None), **value}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.match is not None) != (self.of == "match"):
            raise ValueError("give match with patterns, and only for 'match'")
        problem = None if self.match is None else problem_of(self.match)
        if problem is not None:
            raise ValueError(problem)
        return self

    @model_serializer(mode="plain")
    def _write(self) -> JsonValue:
        wire: dict[str, Any] = {"match": self.match} if self.match is not None else {"for": self.of}
        if self.scope != "agent":
            wire["scope"] = self.scope
        if self.uses is not None:
            wire["uses"] = self.uses
        if self.until is not None:
            wire["until"] = self.until.isoformat().replace("+00:00", "Z")
        return wire if len(wire) > 1 or self.match is not None else self.of


class Match(Remember):
    """Remember a decision for calls whose arguments fit patterns: ``Match(command="pytest *")``.

    Patterns are compared per shell word: ``*`` stands for any characters of one word, ``?`` for one, and a last word
    ``*`` for any number of further words. A value with anything that a shell acts upon (``;``, ``&``, ``|``, ``$``,
    ``>``, backslashes, wildcards…) never fits, so a compound command always asks. Parameters without a pattern must be
    equal to those of the decided call; only texts can have one.

    For a parameter called ``scope``, and for `uses` and `until`, write ``Remember(of="match", match={"scope": …}, …)``.
    """

    def __init__(self, /, *, scope: RememberScope = "agent", **patterns: str) -> None:
        """Make it.

        Args:
            scope: Whose calls.
            patterns: A pattern by parameter.

        Raises:
            pydantic.ValidationError: A pattern is empty or too wide, such as one that begins with a wildcard.
        """
        super().__init__(of="match", match=patterns, scope=scope)
