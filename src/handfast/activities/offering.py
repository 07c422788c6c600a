"""What the model is offered in one request: what is enabled just then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any

from handfast.activities.rules import RULE_S
from handfast.activities.user_code import UserCodeError, call_user_code
from handfast.agent import Agent
from handfast.context import RunContext
from handfast.offered import Offered

logger = logging.getLogger(__name__)


async def offered_now(agent: Agent, context: RunContext[Any], threads: Executor) -> Mapping[str, Offered]:
    """Ask every `enabled` rule of *agent*, side by side; a rule that raises or hangs leaves its tool out."""
    offered = agent.offered
    answers = await asyncio.gather(*(_enabled(agent, each, context, threads) for each in offered.values()))
    return {name: each for (name, each), enabled in zip(offered.items(), answers, strict=True) if enabled}


async def _enabled(agent: Agent, offered: Offered, context: RunContext[Any], threads: Executor) -> bool:
    rule = offered.enabled
    if isinstance(rule, bool):
        return rule
    try:
        answer: object = await asyncio.wait_for(call_user_code(rule, context, threads=threads), RULE_S)
    except TimeoutError:
        problem = f"took longer than {RULE_S:g} s"
    except UserCodeError as error:
        problem = f"raised {error.kind}"
    else:
        if isinstance(answer, bool):
            return answer
        problem = f"answered {type(answer).__name__}, not True or False"
    logger.error("%s of agent %s is not offered: its enabled rule %s", offered.name, agent.name, problem)
    return False
