"""A call with an argument of another type than it takes is refused in one sentence, before anything is sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import pytest
from pydantic import BaseModel

import handfast.client.client
import handfast.client.execution
import handfast.client.run
import handfast.client.session
import handfast.client.turn
import handfast.server
import handfast.testing
from handfast import Agent, HandfastPlugin
from handfast.connection import connect
from handfast.definitions.schema.arguments import UNSET, Arguments, Unset, checked, checked_methods
from handfast.errors import DefinitionError, UsageError
from handfast.worker import load_plugin, make_worker


class Ticket(BaseModel):
    """A run's context."""

    number: int = 7


@checked_methods
class Clerk:
    """Has methods of every kind that are checked."""

    def __init__(self, name: str = "ann") -> None:
        self.name = name

    @classmethod
    def of(cls, name: str) -> Clerk:
        """Make one."""
        return cls(name)

    async def wait(self, timeout: timedelta | None = None) -> str:
        """Take what a wait takes."""
        return "waited"

    def take(  # noqa: PLR0917 - one argument of each kind
        self,
        labels: Mapping[str, str] | None = None,
        items: str | list[dict[str, Any]] = "",
        names: Sequence[str] = (),
        mode: Literal["now", "later", "never"] = "now",
        count: int | Unset | None = UNSET,
        share: float = 0.5,
        context: dict[str, Any] | BaseModel | None = None,
        loud: bool = False,
        each: Iterable[int] = (),
        tell: Callable[[str], None] | None = None,
        agent: str | Agent = "desk",
    ) -> str:
        """Take one argument of each kind."""
        return "taken"


class SeniorClerk(Clerk):
    """Inherits the methods."""


LABELS = "labels must be a mapping of strings, such as {'team': 'billing'}"
CONTEXT = "context must be a JSON object (a dict) or a pydantic model"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"labels": ["a"]}, f"{LABELS}, not a list"),
        ({"labels": "a"}, f"{LABELS}, not a str"),
        ({"labels": {"a": 1}}, "labels['a'] must be a string, not 1 (an int)"),
        ({"labels": {1: "a"}}, "a key of labels must be a string, not 1 (an int)"),
        ({"items": 5}, "items must be a string or a list of dicts, not 5 (an int)"),
        ({"items": None}, "items must be a string or a list of dicts, not None"),
        ({"items": ["hello"]}, "items[0] must be a JSON object (a dict), not a str"),
        ({"items": {"role": "user"}}, "items must be a string or a list of dicts, not a dict; put it into a list"),
        ({"names": "billing"}, "names must be a list of strings, not a str; write ['billing']"),
        ({"names": ["a", Agent("b")]}, "names[1] must be a string, not an Agent; give its name, 'b'"),
        ({"mode": "soon"}, "mode must be 'now', 'later' or 'never', not 'soon'"),
        ({"mode": None}, "mode must be 'now', 'later' or 'never', not None"),
        ({"count": "5"}, "count must be an integer, not a str"),
        ({"count": True}, "count must be an integer, not True"),
        ({"share": "half"}, "share must be a number, not a str"),
        ({"context": Ticket}, f"{CONTEXT}, not the class Ticket; write Ticket(…)"),
        ({"context": {1: 2}}, "a key of context must be a string, not 1 (an int)"),
        ({"loud": "yes"}, "loud must be True or False, not a str"),
        ({"each": "12"}, "each must be a list of int objects, not a str"),
        ({"tell": "me"}, "tell must be a function, not a str"),
        ({"agent": 5}, "agent must be a string or an Agent, not 5 (an int)"),
    ],
)
def test_an_argument_of_a_wrong_type_is_refused_in_one_sentence(given: dict[str, Any], problem: str) -> None:
    """It names the method and the argument, what it takes, what it got, and what to write where that is known."""
    with pytest.raises(UsageError) as refused:
        Clerk().take(**given)
    assert str(refused.value) == f"Clerk.take: {problem}"
    assert isinstance(refused.value, TypeError)


@pytest.mark.parametrize(
    "given",
    [
        {"labels": {"team": "billing"}, "items": [{"role": "user"}], "names": ("a", "b"), "mode": "later"},
        {"labels": None, "items": "hello", "names": {"a": 1}.keys(), "count": 5, "share": 1, "loud": True},
        {"count": None, "context": Ticket(), "each": iter([1, 2]), "tell": print, "agent": Agent("billing")},
        {"context": {"number": 7}, "names": {"a", "b"}, "each": range(3)},
    ],
)
def test_what_fits_passes_as_it_is(given: dict[str, Any]) -> None:
    """Subclasses, tuples, sets and iterators are taken where lists are, and an integer where a number is."""
    assert Clerk().take(**given) == "taken"


async def test_constructors_class_methods_and_coroutines_are_checked() -> None:
    """Each is named as its caller knows it: a method by the class of its object."""
    with pytest.raises(UsageError, match=r"^Clerk: name must be a string, not 5"):
        Clerk(5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^Clerk.of: name must be a string, not None"):
        Clerk.of(None)  # type: ignore[arg-type]
    with pytest.raises(
        UsageError, match=r"^SeniorClerk.wait: timeout .* a timedelta, not 25 .*; write timedelta\(secon"
    ):
        await SeniorClerk().wait(timeout=25)  # type: ignore[arg-type]
    assert await SeniorClerk().wait(timedelta(seconds=25)) == "waited"
    assert inspect.iscoroutinefunction(Clerk.wait)


async def test_a_coroutine_that_nobody_awaited_is_named() -> None:
    """It is the usual slip where an argument comes from a call."""
    waiting = Clerk().wait()
    with pytest.raises(UsageError, match="name must be a string, not a coroutine; await it first"):
        Clerk.of(waiting)  # type: ignore[arg-type]
    await waiting


def test_a_missing_argument_keeps_the_words_of_python() -> None:
    """They name the parameter already."""
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        Clerk.of()  # type: ignore[call-arg]


def test_a_text_is_not_repeated() -> None:
    """It may be anybody's data; only one that should be a choice is shown."""
    with pytest.raises(UsageError) as refused:
        Clerk().take(loud="a customer's words")  # type: ignore[arg-type]
    assert "customer" not in str(refused.value)


def test_a_definition_says_whose_argument_it_is() -> None:
    """A plugin with one agent, and an agent with one handoff, in place of a list."""
    billing = Agent("billing")
    with pytest.raises(
        DefinitionError, match=r"^HandfastPlugin: agents must be a list of Agent objects, not an Agent; put"
    ):
        HandfastPlugin(billing)  # type: ignore[arg-type]
    with pytest.raises(
        DefinitionError, match=r"^agent 'desk': handoffs must be a list .*, not the text 'billing'; write \['billing'\]"
    ):
        Agent("desk", handoffs="billing")
    with pytest.raises(DefinitionError, match=r"^HandfastPlugin: models must be a mapping, not a str"):
        HandfastPlugin([billing], models="gpt")  # type: ignore[arg-type]
    with pytest.raises(
        DefinitionError, match=r"^HandfastPlugin: models\['default'\] must be an AsyncOpenAI, a ModelPort or a string"
    ):
        HandfastPlugin([billing], models={"default": 5})  # type: ignore[dict-item]


@pytest.mark.parametrize("argument", ["tools", "hosted", "handoffs", "input_guardrails", "output_guardrails", "hooks"])
@pytest.mark.parametrize("value", ["billing", 5, print, Agent("billing")], ids=["text", "number", "function", "agent"])
def test_every_list_of_an_agent_is_one(argument: str, value: object) -> None:
    """One value where a list belongs is refused, and not taken apart."""
    with pytest.raises(DefinitionError, match=f"^agent 'desk': {argument} must be a list of "):
        Agent("desk", **{argument: value})  # type: ignore[arg-type]


PUBLIC = (
    handfast.client.client.Handfast,
    handfast.client.execution.Execution,
    handfast.client.run.Run,
    handfast.client.session.Session,
    handfast.client.turn.Turn,
    handfast.server.EmbeddedServer,
)


@pytest.mark.parametrize("cls", PUBLIC)
def test_every_public_method_is_checked(cls: type) -> None:
    """None is forgotten, and each annotation can be read when the method is called."""
    for name, member in vars(cls).items():
        function = member.__func__ if isinstance(member, classmethod) else member
        if inspect.isfunction(function) and (name == "__init__" or not name.startswith("_")):
            assert hasattr(function, "__wrapped__"), f"{cls.__name__}.{name} takes what it is given"
            assert Arguments(inspect.unwrap(function)).types is not None


@pytest.mark.parametrize(
    "function", [connect, make_worker, load_plugin, HandfastPlugin.__init__, handfast.testing.Lab.__init__]
)
def test_every_public_function_is_checked(function: Callable[..., Any]) -> None:
    """Those outside of the classes above."""
    assert hasattr(function, "__wrapped__")
    assert Arguments(inspect.unwrap(function)).types


def test_a_function_is_checked_by_its_name() -> None:
    """The decorator alone, without a class."""

    @checked
    def seconds(timeout: timedelta) -> float:
        return timeout.total_seconds()

    assert seconds(timedelta(minutes=1)) == 60
    with pytest.raises(UsageError, match=r"^seconds: timeout must be a timedelta, not a str"):
        seconds("1 min")  # type: ignore[arg-type]
