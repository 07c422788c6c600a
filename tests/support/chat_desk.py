"""The agent of twelve lines on Chat Completions, for worker processes."""

from __future__ import annotations

import openai

from handfast import ChatCompletionsModel, HandfastPlugin
from support.twelve_lines import desk

plugin = HandfastPlugin([desk], models={"default": ChatCompletionsModel(openai.AsyncOpenAI())})
