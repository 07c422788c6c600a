"""The errors that the API answers with: status, code, and its own wording where that is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from handfast.testing.record import Json

NOT_JSON: Final = "We could not parse the JSON body of your request. The OpenAI API expects a JSON payload."
NO_KEY: Final = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using "
    "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
)


class ApiRefusal(Exception):
    """A request is answered with an error. It never leaves the server but as an HTTP reply."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, *, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status

    def body(self) -> Json:
        """Return the error as the API writes it."""
        return error_body(self.status, self.message, self.code, self.param)


def error_body(status: int, message: str, code: str | None, param: str | None = None) -> Json:
    """Return an error body whose type fits *status*."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    if status == 429:  # the kind of limit: of requests, of tokens, or of what is paid for
        kind = "insufficient_quota" if code == "insufficient_quota" else "requests"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def missing(param: str) -> ApiRefusal:
    """Refuse a request that lacks *param*."""
    return ApiRefusal(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def unknown(param: str) -> ApiRefusal:
    """Refuse a parameter that does not exist."""
    return ApiRefusal(f"Unknown parameter: '{param}'.", param, "unknown_parameter")


def wrong_type(param: str, expected: str, value: object) -> ApiRefusal:
    """Refuse a value of another JSON type than *expected* (with its article)."""
    message = f"Invalid type for '{param}': expected {expected}, but got {_type_name(value)} instead."
    return ApiRefusal(message, param, "invalid_type")


def wrong_value(param: str, value: object, supported: Iterable[str]) -> ApiRefusal:
    """Refuse a value that is none of *supported*."""
    names = [f"'{name}'" for name in supported]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    if len(names) > 2:
        listed = f"{', '.join(names[:-1])}, and {names[-1]}"
    return ApiRefusal(f"Invalid value: '{value}'. Supported values are: {listed}.", param, "invalid_value")


def empty(param: str) -> ApiRefusal:
    """Refuse an empty string."""
    expected = "Expected a string with minimum length 1, but got an empty string instead."
    message = f"Invalid '{param}': empty string. {expected}"
    return ApiRefusal(message, param, "empty_string")


def too_long(param: str, maximum: int, got: int) -> ApiRefusal:
    """Refuse a string above *maximum* characters."""
    message = (
        f"Invalid '{param}': string too long. Expected a string with maximum length {maximum}, "
        f"but got a string with length {got} instead."
    )
    return ApiRefusal(message, param, "string_above_max_length")


def no_match(param: str, pattern: str) -> ApiRefusal:
    """Refuse a string that does not match *pattern*."""
    expected = f"Expected a string that matches the pattern '{pattern}'."
    message = f"Invalid '{param}': string does not match pattern. {expected}"
    return ApiRefusal(message, param, "invalid_value")


def _type_name(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"
