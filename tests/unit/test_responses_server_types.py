"""The scripted model against the types of the installed `openai` package: what they have it takes, and what they do
not have it refuses, so that a newer package tells what is missing here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

import pytest
from openai.types.responses.input_token_count_params import InputTokenCountParams
from openai.types.responses.response_compact_params import ResponseCompactParams
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from openai.types.responses.response_input_item_param import ResponseInputItemParam
from openai.types.responses.tool_param import ToolParam

from handfast.testing.record import Json
from handfast.testing.responses.compaction import check_compact_params
from handfast.testing.responses.items import check_item
from handfast.testing.responses.params import check_count_params, check_params
from handfast.testing.responses.refusal import ApiRefusal
from handfast.testing.responses.tools import check_tools
from support.typed_params import TypedParams

PIXEL: Final = "data:image/png;base64,iVBORw0KGgo="
PDF: Final = "data:application/pdf;base64,JVBERi0="
PLACE: Final = "https://files.example/a.pdf"
SCHEMA: Final = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
CONVERSATION: Final = "conv_1"

FITTING: Final[dict[str, Any]] = {
    "image_url": [PIXEL, "https://images.example/a.png"],
    "file_url": [PLACE],
    "file_data": [PDF],
    "parameters": [SCHEMA],
    "ResponseFormatTextJSONSchemaConfigParam.schema": [SCHEMA],
    "CompoundFilter.filters": [[{"type": "eq", "key": "k", "value": "v"}], [{"type": "or", "filters": []}]],
    "ResponseOutputMessageParam.id": ["msg_1"],
    "ResponseFileSearchToolCallParam.id": ["fs_1"],
    "ResponseFunctionWebSearchParam.id": ["ws_1"],
    "ResponseFunctionToolCallParam.id": ["fc_1"],
    "FunctionCallOutput.id": ["fc_1", None],
    "FunctionCallOutput.call_id": ["call_1"],
    "ResponseReasoningItemParam.id": ["rs_1"],
    "ResponseCompactionItemParamParam.id": ["cmp_1", None],
    "ImageGenerationCall.id": ["ig_1"],
    "ResponseCodeInterpreterToolCallParam.id": ["ci_1"],
    "McpListTools.id": ["mcpl_1"],
    "McpApprovalRequest.id": ["mcpr_1"],
    "McpApprovalResponse.id": ["mcpr_1", None],
    "McpCall.id": ["mcp_1"],
    "ResponseCustomToolCallOutputParam.id": ["ctc_1"],
    "ResponseCustomToolCallParam.id": ["ctc_1"],
    "ResponseConversationParamParam.id": [CONVERSATION],
    "conversation": [CONVERSATION, {"id": CONVERSATION}, None],
    "ContextManagement.type": ["compaction"],
    "ContextManagement.compact_threshold": [1000, None],
    "ResponseCreateParamsBase.max_output_tokens": [16, None],
    "ToolChoiceAllowedParam.tools": [[{"type": "function", "name": "run"}]],
    "ToolChoiceFunctionParam.name": ["run"],
    "ToolChoiceCustomParam.name": ["free"],
    "ToolChoiceMcpParam.server_label": ["wiki"],
    **{
        f"{name}.{field}": values
        for name in ("ResponseCreateParamsBase", "ResponseCompactParams", "InputTokenCountParams")
        for field, values in {
            "input": ["text", [{"role": "user", "content": "text"}]],
            "tools": [[{"type": "function", "name": "run", "parameters": SCHEMA}]],
        }.items()
    },
}
"""What the API wants where the types have a text or an object: forms of ids, addresses, schemas, bounds."""
BESIDE: Final[dict[str, Any]] = {
    "ResponseInputImageParam": {"image_url": PIXEL},
    "ResponseInputImageContentParam": {"image_url": PIXEL},
    "ResponseInputFileParam": {"file_url": PLACE},
    "ResponseInputFileContentParam": {"file_url": PLACE},
    "FunctionCallOutput": {"call_id": "call_1"},
    "ToolFunction": {"parameters": SCHEMA},
    "Mcp": {"server_url": PLACE},
    "ToolMcp": {"server_url": PLACE},
}
"""An image, a file or a server has to be somewhere, an output belongs to a call: the types do not say it."""
INSTEAD: Final[dict[str, Any]] = dict.fromkeys(("Mcp", "ToolMcp"), ("connector_id", "tunnel_id"))
LOOSE: Final = frozenset(
    {
        "ResponseOutputMessageParam.id missing",  # an assistant's message may be a plain one
        "ResponseOutputMessageParam.status missing",
        "ResponseOutputMessageParam.type missing",
        "ResponseOutputTextParam.annotations missing",
        "ResponseInputImageParam.detail missing",
        "FunctionToolParam.parameters missing",
        "FunctionToolParam.strict missing",
    }
)
"""What the types want and the API does without, as its guides do."""
TYPED: Final = TypedParams(FITTING, BESIDE, INSTEAD, LOOSE)
ITEMS: Final = {each.__name__: each for each in get_args(ResponseInputItemParam)}
TOOLS: Final = {each.__name__: each for each in get_args(ToolParam)}


def refusal_of(check: Callable[..., object], *arguments: object) -> str | None:
    """The words in which something is refused; None where it is taken."""
    try:
        check(*arguments)
    except ApiRefusal as refusal:
        return refusal.message
    return None


@pytest.mark.parametrize("name", ITEMS)
def test_every_item_that_the_client_knows_is_taken(name: str) -> None:
    """With its required fields alone, and with each other field and each alternative beside them."""
    refused = [(refusal_of(check_item, item, "input[0]"), item) for item in TYPED.fitting(ITEMS[name])]
    assert [each for each in refused if each[0] is not None] == []


@pytest.mark.parametrize("name", ITEMS)
def test_an_item_with_a_fault_is_refused(name: str) -> None:
    """A field too few, one too many or one of another type, at any depth."""
    faults = list(TYPED.faulty(ITEMS[name]))
    assert [each.fault for each in faults if refusal_of(check_item, each.value, "input[0]") is None] == []


@pytest.mark.parametrize("name", TOOLS)
def test_every_tool_that_the_client_knows_is_taken(name: str) -> None:
    """Likewise, of what a request offers."""
    refused = [(refusal_of(check_tools, [tool], "tools"), tool) for tool in TYPED.fitting(TOOLS[name])]
    assert [each for each in refused if each[0] is not None] == []


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_with_a_fault_is_refused(name: str) -> None:
    """Likewise, of what a request offers."""
    faults = list(TYPED.faulty(TOOLS[name]))
    assert [each.fault for each in faults if refusal_of(check_tools, [each.value], "tools") is None] == []


OFFERED: Final[list[Json]] = [
    {"type": "function", "name": "run", "parameters": SCHEMA},
    {"type": "custom", "name": "free"},
    {"type": "mcp", "server_label": "wiki", "server_url": PLACE},
    {"type": "file_search", "vector_store_ids": ["vs_1"]},
    {"type": "code_interpreter", "container": {"type": "auto"}},
    {"type": "computer_use_preview", "display_height": 1, "display_width": 1, "environment": "browser"},
    *({"type": name} for name in ("web_search_preview", "web_search_preview_2025_03_11", "image_generation")),
    *({"type": name} for name in ("programmatic_tool_calling", "apply_patch", "shell", "computer")),
]


CHECKS: Final[Mapping[str, tuple[Any, Callable[[Json], None], Json]]] = {
    "create": (ResponseCreateParamsBase, check_params, {"model": "m"}),
    "compact": (ResponseCompactParams, check_compact_params, {}),
    "count": (InputTokenCountParams, check_count_params, {}),
}
"""The parameters of each kind of request, their check, and those that stand beside every other."""


def body_with(value: Json, beside: Json) -> Json:
    """A request that differs in one parameter from one that is right."""
    body = {**beside, **value}
    if value.get("stream_options") is not None:
        body["stream"] = True
    if value.get("tool_choice") is not None:
        body["tools"] = OFFERED
    return body


@pytest.mark.parametrize("name", CHECKS)
def test_every_parameter_that_the_client_knows_is_taken(name: str) -> None:
    """To create a response, to compact a conversation and to count tokens."""
    kind, check, beside = CHECKS[name]
    right = [body_with(value, beside) for value in TYPED.fitting(kind)]
    refused = [(refusal_of(check, body), body) for body in right]
    assert [each for each in refused if each[0] is not None] == []


@pytest.mark.parametrize("name", CHECKS)
def test_a_request_with_a_fault_is_refused(name: str) -> None:
    """Items and tools have tests of their own."""
    kind, check, beside = CHECKS[name]
    faults = [each for each in TYPED.faulty(kind) if not each.value.keys() & {"input", "tools"}]
    wrong = [(each.fault, body_with(each.value, beside)) for each in faults]
    assert [fault for fault, body in wrong if refusal_of(check, body) is None] == []
