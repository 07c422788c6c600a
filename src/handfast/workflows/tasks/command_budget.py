"""Budget of the bytes that the commands of one workflow task carry inline, together."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from temporalio import workflow

from handfast.payloads.json_profile import JsonObject
from handfast.payloads.tool_call import INLINE_ARGUMENTS_BYTES, ArgumentsAt

NEXT_TASK: Final = timedelta(milliseconds=1)
"""A timer of this length brings another workflow task, whose commands have room again."""
INLINE_BYTES_PER_TASK: Final = 1_500_000
"""Arguments that the commands of one workflow task carry inline, together: 4 MB would end the run."""


async def next_task() -> None:
    """Wait until another workflow task has come."""
    await asyncio.sleep(NEXT_TASK.total_seconds())


class CommandBudget:
    """The budget of the workflow task under way; the next one has as much again."""

    def __init__(self, new_block: Callable[[list[JsonObject]], str]) -> None:
        """Begin with all of it.

        Args:
            new_block: Enters items into the transcript, and returns their block's id.
        """
        self._new_block = new_block
        self._task = 0
        self._inlined = 0

    def placed(self, arguments: JsonObject, at: ArgumentsAt | None) -> tuple[JsonObject | None, ArgumentsAt | None]:
        """Arguments as an activity gets them: inline while small, else by the block where they stand.

        The commands of one workflow task may not be too large together, so beyond a budget even small ones go by block.
        """
        if self.takes_small(arguments):
            return arguments, None
        if at is None:
            item: JsonObject = {"type": "edited_arguments", "arguments": json.dumps(arguments)}
            at = ArgumentsAt(block=self._new_block([item]), index=0)
        return None, at

    def takes_small(self, arguments: JsonObject) -> bool:
        """As `take`, but False for what is too large to go inline whatever is left."""
        size = len(json.dumps(arguments))
        return size <= INLINE_ARGUMENTS_BYTES and self._take(size)

    def take(self, arguments: JsonObject) -> bool:
        """Take what *arguments* need inline out of the workflow task's budget; False where too little is left."""
        return self._take(len(json.dumps(arguments)))

    def _take(self, size: int) -> bool:
        task = workflow.info().get_current_history_length()
        if task != self._task:
            self._task, self._inlined = task, 0
        if self._inlined + size > INLINE_BYTES_PER_TASK:
            return False
        self._inlined += size
        return True
