"""The script of a model: its steps, and how they are chosen for a request.

```python
script = Script([
    Reply(call("run_cleanup", {"target": "temp_files"}), call("run_diagnostic", {"check_name": "thermal"})),
    Fail(429, retry_after=1),
    Reply(text("Both are done.")),
])
```

The same script as JSON, for `python -m handfast.testing.responses_server`:

```json
[
  {"kind": "reply", "outputs": [
    {"kind": "call", "name": "run_cleanup", "arguments": {"target": "temp_files"}},
    {"kind": "call", "name": "run_diagnostic", "arguments": {"check_name": "thermal"}}]},
  {"kind": "fail", "status": 429, "retry_after": 1},
  {"kind": "reply", "outputs": [{"kind": "text", "text": "Both are done."}]}
]
```

A list is a sequence; the other forms are `{"kind": "per_conversation", "conversations": {marker: […]}}` and
`{"kind": "rules", "rules": […]}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import ConfigDict, Discriminator, Tag, TypeAdapter, ValidationError

from handfast.errors import HandfastError
from handfast.testing._script_outputs import (
    Call,
    Compaction,
    CustomCall,
    Hosted,
    McpApproval,
    Output,
    Raw,
    Reasoning,
    Refusal,
    Text,
    call,
    code_interpreter_item,
    compaction,
    custom_call,
    file_search_item,
    image_generation_item,
    mcp_approval,
    mcp_call_item,
    mcp_tools_item,
    raw,
    reasoning,
    refusal,
    text,
    web_search_item,
)
from handfast.testing._script_steps import (
    Compacted,
    Delay,
    Drop,
    Fail,
    Gate,
    Hang,
    Pause,
    Reply,
    Step,
    Usage,
    Verbatim,
    When,
)
from handfast.testing.record import RecordedRequest

__all__ = [
    "Call",
    "Compacted",
    "Compaction",
    "CustomCall",
    "Delay",
    "Drop",
    "Fail",
    "Gate",
    "Hang",
    "Hosted",
    "McpApproval",
    "Output",
    "Pause",
    "Raw",
    "Reasoning",
    "RecordedRequest",
    "Refusal",
    "Reply",
    "Script",
    "ScriptInvalidError",
    "Step",
    "Text",
    "Usage",
    "Verbatim",
    "When",
    "call",
    "code_interpreter_item",
    "compaction",
    "custom_call",
    "file_search_item",
    "image_generation_item",
    "mcp_approval",
    "mcp_call_item",
    "mcp_tools_item",
    "raw",
    "reasoning",
    "refusal",
    "text",
    "web_search_item",
]

Choose: TypeAlias = Callable[[RecordedRequest], Step | None]


class ScriptInvalidError(HandfastError):
    """A script written as JSON is not one. The text is one line that names the first place at fault."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"not a script: {where}: {problem}")
        self.where = where
        self.problem = problem


class Script:
    """The answers of a `ResponsesServer`: by default a sequence of steps, one for each request.

    A request that breaks a rule of the API takes no step; a `Fail`, `Hang` or `Drop` takes one, so that a
    retry gets the next. A request for which no step is left is answered with a 400 (code `script_exhausted`).
    A script may be used by several servers; each plays it from the start.

    Args:
        steps: The steps, in order.
    """

    def __init__(self, steps: Sequence[Step] = ()) -> None:
        self._player: Callable[[], Choose] = lambda: _in_sequence(steps)

    @classmethod
    def per_conversation(cls, conversations: Mapping[str, Sequence[Step]]) -> Script:
        """Give every conversation its own steps, for runs in parallel.

        The step is derived from the request itself: its conversation by the first user message of the
        effective input, its position by how many turns the model already had. So a request that is repeated
        gets the same reply again. Only steps that are no turn (`Fail`, `Hang`, `Drop`) are counted by the
        server, for each distinct first message: a retry gets the step after them.

        Args:
            conversations: Steps by marker, a substring of the first user message; the first that fits counts.
        """
        script = cls()
        script._player = lambda: _Conversations(conversations)
        return script

    @classmethod
    def rules(cls, *rules: When) -> Script:
        """Play the step of the first rule that matches the request, as often as it matches."""
        script = cls()
        script._player = lambda: lambda request: next((r.then for r in rules if r.matches(request)), None)
        return script

    @classmethod
    def of(cls, function: Choose) -> Script:
        """Let *function* choose the step; None means that there is none. It must not block."""
        script = cls()
        script._player = lambda: function
        return script

    @classmethod
    def from_json(cls, source: str | bytes) -> Script:
        """Read a script written as JSON.

        Raises:
            ScriptInvalidError: It is no JSON, or not a script; unknown fields are refused.
        """
        try:
            form = _FORM.validate_json(source)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "file"
            raise ScriptInvalidError(where, first["msg"]) from error
        match form:
            case _PerConversation():
                return cls.per_conversation(form.conversations)
            case _Rules():
                return cls.rules(*form.rules)
            case _Sequence():
                return cls(form.steps)
            case _:
                return cls(form)

    def player(self) -> Choose:
        """Return a function that chooses the step for each request, from the script's start."""
        return self._player()


def _in_sequence(steps: Sequence[Step]) -> Choose:
    remaining: Iterator[Step] = iter(tuple(steps))
    return lambda request: next(remaining, None)


class _Conversations:
    def __init__(self, conversations: Mapping[str, Sequence[Step]]) -> None:
        self._turns = {marker: _turns(steps) for marker, steps in conversations.items()}
        self._failures: dict[tuple[str, int], int] = {}

    def __call__(self, request: RecordedRequest) -> Step | None:
        first = request.first_user_text
        turns = next((turns for marker, turns in self._turns.items() if marker in first), [])
        if request.turns >= len(turns):
            return None
        turn = turns[request.turns]
        attempt = self._failures.get((first, request.turns), 0)
        if attempt >= len(turn):
            return None
        if not _is_turn(turn[attempt]):
            self._failures[first, request.turns] = attempt + 1
        return turn[attempt]


def _turns(steps: Sequence[Step]) -> list[list[Step]]:
    """Group *steps* by turn: the failures that precede a reply, then the reply."""
    turns: list[list[Step]] = [[]]
    for step in steps:
        turns[-1].append(step)
        if _is_turn(step):
            turns.append([])
    return turns


def _is_turn(step: Step) -> bool:
    while isinstance(step, Delay | Gate):
        step = step.then
    if isinstance(step, Pause):
        return step.error is None
    return isinstance(step, Reply) or (isinstance(step, Verbatim) and step.status < 400)


# --- the JSON form --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sequence:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    steps: list[Step]
    kind: Literal["sequence"] = "sequence"


@dataclass(frozen=True)
class _PerConversation:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    conversations: dict[str, list[Step]]
    kind: Literal["per_conversation"] = "per_conversation"


@dataclass(frozen=True)
class _Rules:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    rules: list[When]
    kind: Literal["rules"] = "rules"


def _form_kind(value: object) -> str:
    if isinstance(value, list):
        return "list"
    return str(value.get("kind", "sequence")) if isinstance(value, dict) else "sequence"


_Form: TypeAlias = Annotated[
    Annotated[list[Step], Tag("list")]
    | Annotated[_Sequence, Tag("sequence")]
    | Annotated[_PerConversation, Tag("per_conversation")]
    | Annotated[_Rules, Tag("rules")],
    Discriminator(_form_kind),
]
_FORM: TypeAdapter[list[Step] | _Sequence | _PerConversation | _Rules] = TypeAdapter(_Form)
