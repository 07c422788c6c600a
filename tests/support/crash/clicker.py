"""A client in a process of its own, which approves one request. Its arguments: address, run, request, decision id."""

from __future__ import annotations

import asyncio
import os
import sys

from handfast import Handfast


async def click(address: str, run_id: str, request: str, decision_id: str) -> str:
    """Approve, and return the state of the receipt."""
    hf = await Handfast.connect(address)
    receipt = await hf.run(run_id).approve(request, decided_by="lead", decision_id=decision_id)
    return "duplicate" if receipt.duplicate else receipt.state


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(click(*sys.argv[1:])))
    sys.stdout.flush()
    os._exit(0)  # the SDK may abort a short script at its end
