from __future__ import annotations
import asyncio, json
from typing import Any
import pytest
from pydantic import BaseModel
from temporalio import activity
from handfast import Agent, RunContext, ToolContext, tool, activity_tool
from handfast.testing import Reply, call, text
from support.labs import MakeLab

KINDS = {"lists": "[]", "ints": "1", "floats": "1e15", "objs": '{"a":1}', "strs": '""'}
def dense(kind: str, size: int) -> str:
    one = KINDS[kind]
    return "[" + ",".join([one] * (size // (len(one) + 1))) + "]"

@pytest.mark.parametrize("kind", list(KINDS))
async def test_answer(make_lab: MakeLab, kind: str) -> None:
    lab = await make_lab([Agent("desk", model="m", output_type=list[Any])], script=[Reply(text('{"response":%s}' % dense(kind, 1_600_000)))]*2)
    run = await lab.start("desk")
    try: await run.result()
    except Exception as e: print(repr(e)[:200])

@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("kind", list(KINDS))
async def test_arguments(make_lab: MakeLab, kind: str, gated: bool) -> None:
    @tool(approval=gated)
    async def take(data: list[Any]) -> str:
        """Take."""
        return "ok"
    lab = await make_lab([Agent("desk", model="m", tools=[take])], script=[Reply(call("take", '{"data":%s}' % dense(kind, 1_500_000), "c1")), Reply(text("done"))])
    run = await lab.start("desk")
    if gated:
        r = await lab.next_request(run)
        await run.in_full(r)
        await run.approve(r, decided_by="lead")
    try: await run.result()
    except Exception as e: print(repr(e)[:200])

class Ctx(BaseModel):
    data: list[Any]
@pytest.mark.parametrize("kind", list(KINDS))
async def test_context(make_lab: MakeLab, kind: str) -> None:
    @tool()
    async def change(ctx: ToolContext[Ctx]) -> str:
        """Change."""
        ctx.context.data = [*ctx.context.data, 1]
        return "ok"
    lab = await make_lab([Agent("desk", model="m", tools=[change], context_type=Ctx)], script=[Reply(call("change", {}, "c1")), Reply(call("change", {}, "c2")), Reply(text("done"))])
    run = await lab.start("desk", context=Ctx(data=json.loads(dense(kind, 900_000))))
    try: await run.result()
    except Exception as e: print(repr(e)[:200])

@activity.defn
async def dump(arg: Any) -> Any:
    return json.loads(dense(arg["kind"], 1_700_000))
@pytest.mark.parametrize("kind", list(KINDS))
async def test_existing(make_lab: MakeLab, kind: str) -> None:
    lab = await make_lab([Agent("desk", model="m", tools=[activity_tool("dump", input=dict, description="d")])], activities=[dump], script=[Reply(call("dump", {"kind": kind}, "c1")), Reply(text("done"))])
    run = await lab.start("desk")
    try: await run.result()
    except Exception as e: print(repr(e)[:200])

async def test_items_in(make_lab: MakeLab) -> None:
    lab = await make_lab([Agent("desk", model="m")], script=[Reply(text("done"))])
    run = await lab.start("desk", [{"role": "user", "content": "x"}] * 40_000)
    try: await run.result()
    except Exception as e: print(repr(e)[:200])

async def test_items_out(make_lab: MakeLab) -> None:
    lab = await make_lab([Agent("desk", model="m")], script=[Reply(*(text("x") for _ in range(8_000)))])
    run = await lab.start("desk")
    try: await run.result()
    except Exception as e: print(repr(e)[:200])
