"""The root of the tree of errors, and the errors of values that travel."""

from __future__ import annotations

from collections.abc import Sequence


class HandfastError(Exception):
    """Base of every error that Handfast raises on purpose. Never raised itself."""


class PayloadInvalidError(HandfastError):
    """A value from another process does not fit. The text names fields, never their contents."""

    def __init__(self, payload: str, problems: Sequence[str]) -> None:
        super().__init__(f"not a valid {payload}: {'; '.join(problems)}")
        self.payload = payload
        self.problems = tuple(problems)


class JsonProfileError(HandfastError):
    """A text is not JSON as Handfast accepts it (RFC 8259 with the limits of `payloads.json_profile`)."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class ConverterIncompatibleError(HandfastError):
    """The client's payload converter cannot carry plain JSON objects."""

    def __init__(self, converter: str, problem: str) -> None:
        super().__init__(
            f"payload converter {converter} cannot carry plain JSON objects ({problem}); "
            "use the default or temporalio.contrib.pydantic, and put encryption into the codec"
        )
        self.converter = converter
        self.problem = problem


class HistoryUnreadableError(HandfastError):
    """A payload of the history cannot be decoded with this client's converter and codec."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the history cannot be read here: {problem}; connect with the codec that the workers use")
        self.problem = problem


class PayloadUnreadableError(HandfastError):
    """A payload that a workflow needs is encrypted and cannot be read here. Its task fails, and is tried again.

    Attributes:
        key: Id of the key that would open it, where that is what is missing.
    """

    def __init__(self, problem: str, key: str | None = None) -> None:
        super().__init__(
            f"{problem}; the run waits: give this worker the key ring of the others (HANDFAST_ENCRYPTION_KEYS)"
        )
        self.problem = problem
        self.key = key


class KeyMissingError(HandfastError):
    """The key ring has no key of this id.

    Attributes:
        key: The id.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"the encryption key {key!r} is not in this key ring; add it to read what it has written")
        self.key = key


class SealBrokenError(HandfastError):
    """Something encrypted was changed, or belongs elsewhere."""

    def __init__(self) -> None:
        super().__init__("it was changed after it was encrypted, or belongs elsewhere; restore it from where it came")
