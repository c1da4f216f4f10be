"""Every error this project raises on purpose.

    StoryboardError                     one line: the rule, the offending value, the way out
    ├── InputError                      what a person gave is wrong: a setting, a story, a sketch
    ├── ChecksFailed                    the preflight found problems; all of them are in the message
    ├── DatasetInvalid                  faults of the training pictures; all of them, by file
    ├── StorageError                    weights or results could not be read or written
    │   ├── CredentialsMissing          no AWS credentials, or refused ones
    │   ├── AccessDenied                credentials that may not do this
    │   ├── BucketNotFound
    │   ├── ObjectNotFound
    │   ├── ConnectionFailed            retryable: endpoint out of reach, or the connection was cut
    │   └── CorruptFile                 retryable: bytes that do not match their checksum
    ├── WriterError                     the language model's stage
    │   ├── WriterRefused               the key is refused, or may not use this model
    │   ├── WriterUnreachable           nobody answers at the address, or no request can be sent there
    │   ├── QuotaExhausted
    │   ├── WriterUnavailable           retryable: rate limit, server error, stalled or cut connection
    │   └── AnswerInvalid               the answer does not fit the record, also when asked again
    ├── ModelError                      weights that can't be loaded
    │   ├── WeightsInvalid              a missing, broken or unsafe file
    │   └── AdapterMismatch             a LoRA that does not fit the base
    ├── TrainingError                   the training stopped; its last whole checkpoint stays
    │   └── TrainingDiverged            the loss is not finite, or far above what an untrained model has
    ├── PaintError                      painting itself failed
    │   └── OutOfMemory                 retryable, unless less memory was tried already
    ├── FrameRejected                   retryable: a frame under its threshold, or with an anomaly
    ├── RunStopped                      the run was interrupted or cancelled while this frame was at work
    └── ScoreUnavailable                a score that could not be computed is never a zero and never a pass

An error says itself whether another attempt can help (``retryable``) and, where a server asked for it, how long
to wait (``retry_after``, seconds). Prefect's retries go by these two attributes alone.
"""

from typing import Self

from models.secrets.redaction import redact


class StoryboardError(Exception):
    """Base of all. The message is one line that a person can act on; models/secrets/redaction.py hides secrets."""

    retryable: bool = False
    retry_after: float | None = None

    def __init__(self, *said: object) -> None:
        super().__init__(*(redact(part) if isinstance(part, str) else part for part in said))


class InputError(StoryboardError):
    """What a person gave is wrong; the message names the value and what is valid."""


class ChecksFailed(StoryboardError):
    """The preflight's problems, all at once.

    Args:
        problems: one line each, in the order in which they should be mended.
    """

    def __init__(self, problems: list[str] | tuple[str, ...]) -> None:
        self.problems = tuple(map(redact, problems))
        super().__init__("; ".join(self.problems))

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class DatasetInvalid(StoryboardError):
    """Faults of the training pictures, all at once.

    Args:
        faults: one line each: file, fault, way out.
    """

    def __init__(self, faults: list[str] | tuple[str, ...]) -> None:
        self.faults = tuple(map(redact, faults))
        super().__init__("; ".join(self.faults))

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[str, ...]]]:
        return type(self), (self.faults,)


class StorageError(StoryboardError):
    """Weights or results could not be read or written."""


class CredentialsMissing(StorageError):
    """No AWS credentials were found, or they were refused."""


class AccessDenied(StorageError):
    """The credentials are valid and may not do this here."""


class BucketNotFound(StorageError):
    """The bucket does not exist at this endpoint."""


class ObjectNotFound(StorageError):
    """Nothing lies under this key or path."""


class ConnectionFailed(StorageError):
    """The endpoint is out of reach, or the connection was cut half-way."""

    retryable = True


class CorruptFile(StorageError):
    """Bytes that do not match their checksum or size."""

    retryable = True


class WriterError(StoryboardError):
    """The language model's stage failed."""


class WriterRefused(WriterError):
    """The key is refused, or may not use this model."""


class WriterUnreachable(WriterError):
    """Nobody answers at the address, or no request can be sent there; waiting does not help."""


class QuotaExhausted(WriterError):
    """The account has no quota left; waiting does not help."""


class WriterUnavailable(WriterError):
    """Rate limit, server error, stalled or cut connection.

    Args:
        message: one line.
        retry_after: seconds the server asked to wait, if it did.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AnswerInvalid(WriterError):
    """The answer does not fit the record, also after it was asked again with the error."""


class ModelError(StoryboardError):
    """Weights that can't be loaded."""


class WeightsInvalid(ModelError):
    """A missing, broken or unsafe weights file."""


class AdapterMismatch(ModelError):
    """A LoRA that does not fit the base; the message names module and shapes."""


class TrainingError(StoryboardError):
    """The training stopped; the message names its last whole checkpoint."""


class TrainingDiverged(TrainingError):
    """The loss is not finite, or far above what an untrained model has; the message says at which step."""


class PaintError(StoryboardError):
    """Painting a frame failed."""


class OutOfMemory(PaintError):
    """The device ran out of memory.

    Args:
        message: one line.
        retryable: whether another moment may do; not where less memory was tried already, or less can't be.
    """

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class FrameRejected(StoryboardError):
    """A painted frame did not pass the gate; the next attempt takes the next seed."""

    retryable = True


class RunStopped(StoryboardError):
    """The run was interrupted or cancelled, so what was still at work in it stopped."""


class ScoreUnavailable(StoryboardError):
    """A score could not be computed. Unmeasured is never zero and never a pass."""
