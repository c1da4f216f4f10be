"""Every error this project raises on purpose.

    StoryboardError                     one line: the rule, the offending value, the way out
    ├── InputError                      wrong input: a setting, a story, a sketch
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
    │   ├── WriterUnreachable           no answer from the address, or no request can be sent there
    │   ├── QuotaExhausted
    │   ├── WriterUnavailable           retryable: rate limit, server error, stalled or cut connection
    │   └── AnswerInvalid               the answer does not fit the record, also after a retry
    ├── ModelError                      weights that can't be loaded
    │   ├── WeightsInvalid              a missing, broken or unsafe file
    │   └── AdapterMismatch             a LoRA that does not fit the base
    ├── TrainingError                   the training stopped; its last complete checkpoint stays
    │   └── TrainingDiverged            the loss is not finite, or far above what an untrained model has
    ├── PaintError                      painting itself failed
    │   ├── OutOfMemory                 retryable, unless low-memory mode was tried already
    │   └── PaintersUnreachable         no warm painter answered, after waiting for one
    ├── FrameRejected                   retryable: a frame under its threshold, or with an anomaly
    ├── RunStopped                      the run was interrupted or cancelled while this frame was unfinished
    └── ScoreUnavailable                a score could not be computed: never a zero, never a pass

An error holds whether a retry can help (``retryable``) and the server's requested wait (``retry_after``, seconds).
Prefect's retries use only these two attributes.
"""

from typing import Self

from models.secrets.redaction import redact


class StoryboardError(Exception):
    """Base class. The message is one line that a person can act on, with secrets redacted."""

    retryable: bool = False
    retry_after: float | None = None

    def __init__(self, *said: object) -> None:
        super().__init__(*(redact(part) if isinstance(part, str) else part for part in said))


class InputError(StoryboardError):
    """Wrong input; the message names the value and what is valid."""


class ChecksFailed(StoryboardError):
    """The preflight's problems, all at once.

    Args:
        problems: one line each, in the order in which to fix them.
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
    """The credentials are valid but lack the permission."""


class BucketNotFound(StorageError):
    """The bucket does not exist at this endpoint."""


class ObjectNotFound(StorageError):
    """No object has this key or path."""


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
    """No answer from the address, or no request can be sent there; waiting does not help."""


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
    """The answer does not fit the record, also after a retry that quoted the error."""


class ModelError(StoryboardError):
    """Weights that can't be loaded."""


class WeightsInvalid(ModelError):
    """A missing, broken or unsafe weights file."""


class AdapterMismatch(ModelError):
    """A LoRA that does not fit the base; the message names module and shapes."""


class TrainingError(StoryboardError):
    """The training stopped; the message names its last complete checkpoint."""


class TrainingDiverged(TrainingError):
    """The loss is not finite, or far above what an untrained model has; the message says at which step."""


class PaintError(StoryboardError):
    """Painting a frame failed."""


class OutOfMemory(PaintError):
    """The device ran out of memory.

    Args:
        message: one line.
        retryable: whether a later attempt may succeed; False if low-memory mode was tried already or can't help.
    """

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class PaintersUnreachable(PaintError):
    """No warm painter answered at the address, after waiting for one."""


class FrameRejected(StoryboardError):
    """A painted frame did not pass the gate; the next attempt takes the next seed."""

    retryable = True


class RunStopped(StoryboardError):
    """The run was interrupted or cancelled, so its unfinished work stopped."""


class ScoreUnavailable(StoryboardError):
    """A score could not be computed. It counts neither as zero nor as a pass."""
