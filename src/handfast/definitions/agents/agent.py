"""Agents: a name, instructions, a model and tools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Generic, TypeAlias, TypeVar, cast, overload

from pydantic import BaseModel
from typing_extensions import TypeForm

from handfast.definitions.agents.after_tools import AfterTools, checked_after_tools
from handfast.definitions.agents.agent_tool import AgentTool, InputBuilder, OnAgentError, OutputExtractor, agent_tool
from handfast.definitions.agents.checks import check_offered, check_words, checked_settings
from handfast.definitions.agents.compaction import Compact, Truncate, checked_compaction, checked_truncation
from handfast.definitions.agents.handoff import Handoff, handoff
from handfast.definitions.agents.hooks import AgentHooks, hooks_of
from handfast.definitions.agents.limits import OnMaxTurns, OnRefusal, check_limits
from handfast.definitions.agents.model_choice import ModelChoice, ModelNames, checked_models
from handfast.definitions.agents.model_input import InputFilter, Prompt, check_filter, check_prompt
from handfast.definitions.agents.rejection import RejectionText
from handfast.definitions.checks import (
    a_kind,
    check_amount,
    check_bool,
    check_count,
    check_function,
    check_model_class,
    check_text,
    is_model_class,
    listed,
)
from handfast.definitions.context import RunContext
from handfast.definitions.gates.approval import ApprovalRule
from handfast.definitions.gates.guardrails import GuardrailFunction, InputGuardrail, OutputGuardrail, guardrails_of
from handfast.definitions.schema.output_type import OutputType, output_type_of
from handfast.definitions.tools.function_tool import Tool, tool
from handfast.definitions.tools.hosted import HostedTool, split_hosted
from handfast.definitions.tools.mcp import McpServer, checked_servers
from handfast.definitions.tools.offered import Offered, check_name
from handfast.definitions.tools.options import EnabledRule
from handfast.errors import DefinitionError
from handfast.payloads.requests import LimitPolicy
from handfast.payloads.runs import AnswerT_co

__all__ = ["Agent", "Instructions"]


GivenT = TypeVar("GivenT")
KeptT = TypeVar("KeptT")


class _Kept(Generic[GivenT, KeptT]):
    """A dataclass field that is given as one type and, after ``__post_init__``, kept as another."""

    def __init__(self, default: GivenT) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> GivenT: ...

    @overload
    def __get__(self, instance: object, owner: type) -> KeptT: ...

    def __get__(self, instance: object | None, owner: type) -> Any:
        return self._default if instance is None else instance.__dict__[self._name]

    def __set__(self, instance: object, value: GivenT) -> None:
        instance.__dict__[self._name] = value


Instructions: TypeAlias = str | Callable[[RunContext[Any]], str | Awaitable[str]]


@dataclass(frozen=True)
class Agent(Generic[AnswerT_co]):
    """One agent: a name, and everything that its runs need. Frozen; `dataclasses.replace` makes a changed copy.

    Attributes:
        name: 1 to 64 letters, digits, ``_`` or ``-``; runs in flight refer to it.
        instructions: A text, or a function of the run context, evaluated before each model call.
        model: The model's name; None is the plugin's default. Of several names or `ModelChoice`, the next one is asked
            where one is unavailable.
        client: Name of the entry of ``HandfastPlugin(models={...})`` that answers its requests.
        description: Purpose of the agent, for models that may call it or hand over to it.
        tools: Tools that the model may call. Plain functions are wrapped by `handfast.tool`; a dict is a tool of the
            provider's, as its API takes it.
        hosted: Tools that the provider runs itself. They may be given among the tools.
        mcp: MCP servers whose tools the model may call, beside those that the plugin has for all agents.
        handoffs: Agents, or their names, that may take over the conversation.
        model_settings: Further fields of the request: ``temperature``, ``reasoning``, ``max_output_tokens``…
        max_turns: Most model replies; None is no limit.
        max_tokens: Most tokens, of this agent's loop and of every agent that it uses as a tool; None is no limit. A
            reply that was begun is taken, so a run may end a reply above it.
        max_cost: Most money, likewise, by the prices of its model entries, which each of its models needs.
        max_duration: Longest time that its loop may work, with every agent that it uses as a tool; while all of it
            waits for people, no time is counted. Checked before each model call. None is no limit.
        max_open_requests: Most requests of a run that are open at a time, for calls of this agent; further calls wait,
            in their order, until others are decided. At most 500.
        on_limit: ``"fail"``: at a limit the run fails (``MaxTurnsExceeded``, ``MaxTokensExceeded``,
            ``MaxCostExceeded``, ``MaxDurationExceeded``). ``"ask"``: a person is asked for more.
        on_max_turns: A function of the run context and `MaxTurns`, called at the limit of turns; its return value is
            the run's output. None fails the run.
        on_refusal: A function of the run context and `Refusal`, called where the model refuses to answer; its return
            value is the run's output. None fails the run.
        reset_tool_choice: After its first call in a run the agent may answer, whatever ``tool_choice`` asks for.
        rejection_text: A function of the run context and `Rejection` that returns the model's text for a rejected call.
        context_type: pydantic model of the run's context.
        output_type: Type of the final answer: anything that pydantic can build. None and ``str`` are plain text.
        output: Reader of the final answer, where it is no plain text; made of *output_type*.
        input_guardrails: Check the input of a run of this agent, once per run. Plain functions are wrapped.
        output_guardrails: Check its final output, in this order. Plain functions are wrapped.
        hooks: Observers of its model calls and tools.
        after_tools: ``"run_again"``: the model reads the outputs of a reply's tools. ``"stop_on_first"``, `StopAt`, or
            a function of the run context and the results may end the run instead.
        max_parallel_calls: Most calls of one reply that run at once; the others start in call order. None is no limit.
        background: Responses are made in the background: the provider stores them, they survive the worker that asked
            for them, and they may take hours.
        compaction: Rule by which a long conversation is summarized; None: never.
        truncation: Part of a long conversation that the model is sent; None: all of it.
        prompt: A prompt template that the provider keeps: ``{"id", "version", "variables"}``, or a function of the run
            context that returns it, evaluated before each model call. Where *model* is None, the template names it.
        input_filter: A function of the run context and `ModelInput`, asked before each model call: what it returns is
            sent. The run's transcript keeps all. Where it raises, the run fails (``InputFilterFailed``).

    Raises:
        DefinitionError: Something about it cannot work.
    """

    name: str
    _: KW_ONLY
    instructions: Instructions = ""
    model: _Kept[ModelNames, str | tuple[ModelChoice, ...] | None] = _Kept(None)
    client: str = "default"
    description: str = ""
    tools: _Kept[Sequence[Offered | HostedTool | Mapping[str, Any] | Callable[..., Any]], tuple[Offered, ...]] = _Kept(
        ()
    )
    hosted: _Kept[Sequence[HostedTool], tuple[HostedTool, ...]] = _Kept(())
    mcp: _Kept[Sequence[McpServer], tuple[McpServer, ...]] = _Kept(())
    handoffs: _Kept[Sequence[Handoff | Agent | str], tuple[Handoff, ...]] = _Kept(())
    model_settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    max_turns: int | None = 100
    max_tokens: int | None = None
    max_cost: _Kept[Decimal | float | str | None, Decimal | None] = _Kept(None)
    max_duration: timedelta | None = None
    max_open_requests: int = 256
    on_limit: LimitPolicy = "fail"
    on_max_turns: OnMaxTurns | None = None
    on_refusal: OnRefusal | None = None
    reset_tool_choice: bool = True
    rejection_text: RejectionText | None = None
    context_type: type[BaseModel] | None = None
    output_type: TypeForm[AnswerT_co] = field(default=cast(Any, None), hash=False)
    input_guardrails: _Kept[Sequence[InputGuardrail | GuardrailFunction], tuple[InputGuardrail, ...]] = _Kept(())
    output_guardrails: _Kept[Sequence[OutputGuardrail | GuardrailFunction], tuple[OutputGuardrail, ...]] = _Kept(())
    hooks: _Kept[Sequence[AgentHooks], tuple[AgentHooks, ...]] = _Kept(())
    after_tools: AfterTools = "run_again"
    max_parallel_calls: int | None = None
    compaction: Compact | None = None
    truncation: Truncate | None = None
    background: bool = False
    prompt: Prompt | None = field(default=None, hash=False)
    input_filter: InputFilter | None = None
    output: OutputType | None = field(init=False, hash=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check the options, and convert each to the one form in which it is kept."""
        subject = f"agent {self.name!r}"
        check_name(subject, self.name)
        self._check_options(subject)
        output = output_type_of(self.output_type, subject)
        given = [
            *listed(subject, "tools", self.tools, "tools and functions"),
            *listed(subject, "hosted", self.hosted, "hosted tools"),
        ]
        tools, hosted = split_hosted(subject, given)
        kept = {
            "model": checked_models(subject, self.model),
            "max_cost": check_amount(subject, "max_cost", self.max_cost, none="no limit"),
            "output": output,
            "tools": _wrapped(subject, tools),
            "hosted": hosted,
            "mcp": checked_servers(subject, self.mcp),
            "handoffs": _handoffs(subject, self.handoffs),
            "model_settings": MappingProxyType(checked_settings(subject, self.model_settings, output)),
            "input_guardrails": guardrails_of(InputGuardrail, self.input_guardrails, subject),
            "output_guardrails": guardrails_of(OutputGuardrail, self.output_guardrails, subject),
            "hooks": hooks_of(self.hooks, subject),
        }
        for attribute, value in kept.items():
            object.__setattr__(self, attribute, value)
        check_offered(subject, [*self.tools, *self.handoffs])
        checked_after_tools(subject, self.after_tools, None if self.mcp else [each.name for each in self.tools])
        checked_compaction(
            subject,
            self.compaction,
            truncated=self.truncation is not None,
            managed="context_management" in self.model_settings,
        )
        if self.prompt is not None and "prompt" in self.model_settings:
            raise DefinitionError(subject, "give prompt as an option or in model_settings, not in both")
        self._check_context(subject)

    @property
    def offered(self) -> Mapping[str, Offered]:
        """Tools and handoffs by the name that the model calls."""
        return {each.name: each for each in (*self.tools, *self.handoffs)}

    @property
    def choices(self) -> tuple[ModelChoice, ...]:
        """The models that it asks, in order; none where the plugin's default or a prompt template names it."""
        if self.model is None:
            return ()
        return (ModelChoice(self.model),) if isinstance(self.model, str) else self.model

    @property
    def clients(self) -> tuple[str, ...]:
        """Names of the model entries that it asks, its own first."""
        others = [each.client for each in self.choices if each.client is not None]
        return tuple(dict.fromkeys([self.client, *others]))

    def as_tool(
        self,
        name: str | None = None,
        description: str | None = None,
        *,
        parameters: type[BaseModel] | None = None,
        input_builder: InputBuilder | None = None,
        output_extractor: OutputExtractor | None = None,
        max_turns: int | None = None,
        approval: ApprovalRule = False,
        enabled: EnabledRule = True,
        on_error: OnAgentError = "tell_model",
    ) -> AgentTool:
        """Make a tool of this agent: each call runs a nested loop inside the same run.

        Its requests are listed and decided with the run's own, its usage counts for the run, and it shares the run's
        context. Of the conversation it sees only its input.

        Args:
            name: For the model; the agent's name by default.
            description: For the model; the agent's description by default.
            parameters: pydantic model of the arguments; by default one text, ``input``. Without an `input_builder` the
                agent reads them as JSON.
            input_builder: A function of run context and arguments that returns the agent's input: a text, or items as
                the Responses API takes them.
            output_extractor: A function of run context and `NestedRun` that returns the call's output.
            max_turns: Most model replies of one call; None takes the agent's own limit.
            approval: True, an `Approval`, or a rule: whether a person is asked before the agent starts.
            enabled: As `handfast.tool`: a bool, or a function of the run context, asked before each model call.
            on_error: ``"tell_model"``, ``"fail"`` (the whole run), or a function of run context and `AgentFailure`
                that words the failure for the model.

        Raises:
            DefinitionError: Something about it cannot work.
        """
        return agent_tool(
            self,
            name=name,
            description=description,
            parameters=parameters,
            input_builder=input_builder,
            output_extractor=output_extractor,
            max_turns=max_turns,
            approval=approval,
            enabled=enabled,
            on_error=on_error,
        )

    def _check_options(self, subject: str) -> None:
        check_words(subject, self.instructions, self.rejection_text)
        check_text(subject, "client", self.client, filled=True)
        check_text(subject, "description", self.description)
        check_limits(
            subject,
            self.max_turns,
            self.max_tokens,
            max_duration=self.max_duration,
            max_open_requests=self.max_open_requests,
            on_limit=self.on_limit,
        )
        for option, handler in (("on_max_turns", self.on_max_turns), ("on_refusal", self.on_refusal)):
            if handler is not None:
                check_function(subject, option, handler, "the run context", "what happened")
        check_bool(subject, "reset_tool_choice", self.reset_tool_choice)
        check_bool(subject, "background", self.background)
        check_count(subject, "max_parallel_calls", self.max_parallel_calls, none="no limit")
        checked_truncation(subject, self.truncation)
        check_prompt(subject, self.prompt)
        check_filter(subject, self.input_filter)

    def _check_context(self, subject: str) -> None:
        own = self.context_type
        if own is None:
            return
        check_model_class(subject, "context_type", own)
        for each in self.tools:
            wanted = each.context_type if isinstance(each, Tool) else None
            if is_model_class(wanted) and not issubclass(own, wanted):
                raise DefinitionError(
                    subject,
                    f"tool {each.name!r} wants context {wanted.__name__}, but context_type is {own.__name__}",
                )


def _wrapped(subject: str, tools: Sequence[Offered | Callable[..., Any]]) -> tuple[Offered, ...]:
    wrapped: list[Offered] = []
    for given in tools:
        if isinstance(given, Offered):
            wrapped.append(given)
        elif isinstance(given, Agent):
            raise DefinitionError(subject, f"tools holds the agent {given.name!r}; offer it as {given.name}.as_tool()")
        elif not callable(given):
            raise DefinitionError(subject, f"tools must hold tools and functions, not {a_kind(given)}")
        else:
            wrapped.append(tool(given))
    return tuple(wrapped)


def _handoffs(subject: str, handoffs: Sequence[object]) -> tuple[Handoff, ...]:
    made: list[Handoff] = []
    for given in listed(subject, "handoffs", handoffs, "agents, names and handoffs"):
        if not isinstance(given, Handoff | Agent | str):
            raise DefinitionError(subject, f"handoffs must hold agents, names and handoffs, not {a_kind(given)}")
        made.append(given if isinstance(given, Handoff) else handoff(given))
    return tuple(made)
