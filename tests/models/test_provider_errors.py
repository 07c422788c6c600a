"""An error of the provider is understood alike, whether it is an HTTP status or stands inside a 200."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from handfast import Agent, InProcessDeltas
from handfast.errors import RunFailedError
from handfast.models.provider_error import error_of, retry_after
from handfast.models.vendor_errors import failure
from handfast.payloads.usage import Usage
from handfast.testing import Fail, Reply, Verbatim, text
from handfast.testing.script import Step
from support.labs import MakeLab

DONE = Reply(text("done"))
WAYS: Mapping[str, dict[str, Any]] = {
    "whole": {},
    "streamed": {"stream": True},
    "background": {},
    "followed": {"stream": True},
}


def desk(way: str) -> Agent:
    """An agent whose replies come in one of four ways."""
    return Agent("desk", model="m", background=way in ("background", "followed"))


@pytest.mark.parametrize("inside", ["event", "response"])
@pytest.mark.parametrize("way", WAYS)
async def test_an_overloaded_provider_is_asked_again_though_it_said_200(
    make_lab: MakeLab, way: str, inside: Any
) -> None:
    """An overload that is told inside a 200, by an event or by a failed response, costs another request and not the
    run."""
    script = [Fail(503, code="server_is_overloaded", inside=inside), DONE]
    lab = await make_lab([desk(way)], script=script, deltas=InProcessDeltas())
    run = await lab.start("desk", **WAYS[way])
    assert (await run.result()).output == "done"
    assert len(lab.model.created) == 2
    assert lab.model.violations == []


OVERLOADED = "Our servers are currently overloaded. Please try again later."
PASSING: Mapping[str, tuple[object, str]] = {
    "openai-overloaded": (
        {"error": {"type": "service_unavailable_error", "code": "server_is_overloaded"}},
        "ModelUnavailable",
    ),
    "flat-event": (
        {"type": "error", "code": "server_is_overloaded", "message": "busy", "param": None},
        "ModelUnavailable",
    ),
    "slow-down": ({"error": {"code": "slow_down"}}, "ModelBusy"),
    "openai-rate-limit": ({"error": {"code": "rate_limit_exceeded", "type": "tokens"}}, "ModelBusy"),
    "anthropic-overloaded": (
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        "ModelUnavailable",
    ),
    "anthropic-rate-limit": ({"type": "error", "error": {"type": "rate_limit_error"}}, "ModelBusy"),
    "anthropic-api": ({"error": {"type": "api_error", "message": "Internal server error"}}, "ModelUnavailable"),
    "openrouter-429": ({"error": {"code": 429, "message": "Provider returned error"}}, "ModelBusy"),
    "openrouter-502": ({"error": {"code": 502, "message": "Provider returned error"}}, "ModelUnavailable"),
    "number-as-text": ({"error": {"code": "503", "message": "x"}}, "ModelUnavailable"),
    "unavailable": ({"error": {"code": "service_unavailable"}}, "ModelUnavailable"),
    "azure-camel-case": ({"error": {"code": "TooManyRequests"}}, "ModelBusy"),
    "vllm-type": ({"error": {"type": "InternalServerError", "code": 500}}, "ModelUnavailable"),
    "litellm-type": ({"error": {"type": "ServiceUnavailableError", "code": "upstream"}}, "ModelUnavailable"),
    "google": ([{"error": {"code": 503, "status": "UNAVAILABLE"}}], "ModelUnavailable"),
    "google-exhausted": ({"error": {"code": "RESOURCE_EXHAUSTED"}}, "ModelBusy"),
    "engine": ({"error": {"type": "engine_overloaded_error"}}, "ModelUnavailable"),
    "gateway-timeout": ({"error": {"code": "gateway_timeout"}}, "ModelUnavailable"),
    "ollama": ({"error": "model runner has unexpectedly stopped"}, "ModelUnavailable"),
    "no-code": ({"type": "error", "message": OVERLOADED}, "ModelUnavailable"),
    "unheard-of-code": ({"error": {"code": "E4711", "message": OVERLOADED}}, "ModelUnavailable"),
}
LASTING: Mapping[str, object] = {
    "prompt": {"error": {"code": "invalid_prompt", "message": "no"}},
    "request": {"error": {"type": "invalid_request_error", "code": None, "message": "Try again with another input"}},
    "quota": {"error": {"code": "insufficient_quota", "type": "insufficient_quota"}},
    "quota-as-429": {"error": {"code": 429, "type": "insufficient_quota"}},
    "credits": {"error": {"code": 402, "message": "Insufficient credits"}},
    "number": {"error": {"code": 400, "message": "temporarily not an option"}},
    "key": {"error": {"type": "authentication_error"}},
    "model": {"error": {"code": "model_not_found", "type": "api_error"}},
    "context": {"error": {"code": "context_length_exceeded", "type": "server_error"}},
    "policy": {"error": {"code": "content_policy_violation", "type": "api_error"}},
    "unheard-of-code": {"error": {"code": "E4711", "message": "no"}},
}


@pytest.mark.parametrize("name", PASSING)
def test_a_code_that_passes_means_another_try(name: str) -> None:
    """Codes and types of every provider are read by what they say, and mean what their HTTP status would."""
    said, kind = PASSING[name]
    failed = failure(error_of(said))
    assert (failed.kind, failed.retryable) == (kind, True)


@pytest.mark.parametrize("name", LASTING)
def test_a_code_that_lasts_ends_the_run(name: str) -> None:
    """What no other try can mend is refused at once, also where its message or type sounds like a bad hour."""
    failed = failure(error_of(LASTING[name]))
    assert (failed.kind, failed.retryable) == ("ModelRefused", False)


@pytest.mark.parametrize(
    ("status", "error", "retryable"),
    [
        pytest.param(400, {"code": "server_is_overloaded"}, True, id="overloaded-as-400"),
        pytest.param(403, {"code": "rate_limit_exceeded"}, True, id="rate-limit-as-403"),
        pytest.param(529, {"type": "overloaded_error"}, True, id="529"),
        pytest.param(500, {"code": "invalid_prompt"}, True, id="500-whatever-it-says"),
        pytest.param(429, {"code": "insufficient_quota"}, False, id="no-quota"),
        pytest.param(404, {"type": "NotFoundError", "code": 404}, False, id="vllm-404"),
        pytest.param(400, {"type": "BadRequestError", "code": 400}, False, id="vllm-400"),
    ],
)
def test_a_status_and_a_code_are_read_together(status: int, error: dict[str, object], retryable: bool) -> None:
    """A proxy may hand an overload on as a 400, and a code says more than its status."""
    assert failure(error_of(error, status=status)).retryable is retryable


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({"retry-after-ms": "1500"}, 1.5, id="milliseconds"),
        pytest.param({"retry-after-ms": "soon", "retry-after": "2"}, 2, id="broken-milliseconds"),
        pytest.param({"retry-after-ms": "", "retry-after": "2"}, 2, id="empty-milliseconds"),
        pytest.param({"retry-after-ms": "nan", "retry-after": "2"}, 2, id="NaN"),
        pytest.param({"retry-after-ms": "1e999", "retry-after": "2"}, 2, id="infinite"),
        pytest.param({"retry-after-ms": "-5", "retry-after": "2"}, 2, id="negative"),
        pytest.param({"retry-after-ms": "0", "retry-after": "2"}, 2, id="zero"),
        pytest.param({"retry-after": "90000"}, 600, id="ten-minutes-at-most"),
        pytest.param({"retry-after": "later"}, None, id="nonsense"),
        pytest.param({"retry-after": "Mon, 99 Foo 2026"}, None, id="no-date"),
        pytest.param({}, None, id="none"),
    ],
)
def test_a_broken_header_does_not_hide_a_good_one(headers: dict[str, str], seconds: float | None) -> None:
    """A value that cannot be read is as good as none."""
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert retry_after(headers) == expected


def test_a_broken_header_does_not_hide_a_date() -> None:
    """Nor does it where the good one is an HTTP date."""
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=5))
    wait = retry_after({"retry-after-ms": "soon", "retry-after": date})
    assert wait is not None
    assert timedelta(minutes=4) < wait <= timedelta(minutes=5)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        pytest.param({"message": "Limit 10. Please try again in 1.5s. Visit us."}, 1.5, id="openai"),
        pytest.param({"message": "Please try again in 250ms."}, 0.25, id="openai-ms"),
        pytest.param({"message": "Please try again in 1m30.5s."}, 90.5, id="openai-minutes"),
        pytest.param({"message": "Please retry after 20 seconds."}, 20, id="azure"),
        pytest.param({"message": "Please retry in 3.7s."}, 3.7, id="google"),
        pytest.param({"message": "busy", "retry_after": 4}, 4, id="field"),
        pytest.param({"message": "busy", "retry_after_ms": 40, "retry_after": 4}, 0.04, id="field-ms"),
        pytest.param({"message": "busy", "metadata": {"retry_after_seconds": 5}}, 5, id="openrouter"),
        pytest.param({"message": "busy", "metadata": {"headers": {"Retry-After": "6"}}}, 6, id="openrouter-headers"),
        pytest.param({"message": "Try again with 3 messages."}, None, id="no-time"),
        pytest.param({"message": "busy", "retry_after": "soon"}, None, id="nonsense"),
    ],
)
def test_the_wait_is_read_where_the_error_says_it(error: dict[str, object], seconds: float | None) -> None:
    """Inside a 200 there may be no header: the error's fields or its sentence say how long to wait."""
    wait = error_of({"error": {"code": "rate_limit_exceeded", **error}}).retry_after
    assert (None if wait is None else wait.total_seconds()) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(Fail(429, inside="response", message="Please try again in 3s."), id="sentence-inside-a-200"),
        pytest.param(Fail(429, inside="event", retry_after=3), id="header-of-a-200"),
        pytest.param(Fail(429, headers={"retry-after-ms": "soon", "retry-after": "3"}), id="broken-milliseconds"),
        pytest.param(Verbatim({"error": {"code": 429, "metadata": {"retry_after": 3}}}), id="body-of-a-200"),
    ],
)
async def test_the_next_request_comes_no_sooner_than_it_was_asked_for(make_lab: MakeLab, step: Step) -> None:
    """The provider's own wait is kept, wherever it says it."""
    lab = await make_lab([desk("whole")], script=[step, DONE])
    assert (await (await lab.start("desk")).result()).output == "done"
    first, second = lab.model.requests
    assert 3.0 <= (second.received_at - first.received_at).total_seconds() < 8.0


@pytest.mark.parametrize("inside", ["event", "response"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_request_that_is_refused_inside_a_200_ends_the_run_at_once(
    make_lab: MakeLab, way: str, inside: Any
) -> None:
    """What another try cannot mend costs one request."""
    lab = await make_lab([desk(way)], script=[Fail(400, "no such thing", "invalid_prompt", inside=inside)])
    run = await lab.start("desk", **WAYS[way])
    with pytest.raises(RunFailedError, match="no such thing") as failed:
        await run.result()
    assert (failed.value.kind, len(lab.model.created)) == ("ModelRefused", 1)


def test_what_was_paid_for_is_asked_again_a_few_times_only() -> None:
    """A failed response that counts tokens is a broken reply: three in a row end the run."""
    failed = failure(error_of({"error": {"code": "server_error"}}), Usage(requests=1, total_tokens=5))
    assert (failed.kind, failed.retryable, failed.usage) == (
        "ModelReplyInvalid",
        True,
        Usage(requests=1, total_tokens=5),
    )
