"""What flows between the stages of a training: frozen records, small JSON; pictures and tensors stay on disk.

TrainingOptions -> TrainingSet -> Latents -> Checkpoint… -> Comparison -> Published
"""

from __future__ import annotations

from pydantic import AliasChoices, Field

from models.records import Record
from models.sizes import Size


class TrainingPicture(Record):
    """One picture and what it shows."""

    file: str
    """Absolute path."""
    sha256: str
    """Of the file's bytes."""
    caption: str = Field(min_length=1)
    alternatives: tuple[str, ...] = ()
    """More captions: each showing draws one of them all. Held-out pictures are measured with the first."""
    repeats: int = Field(1, ge=1)
    """How often a pass shows it."""
    width: int = Field(ge=1)
    """Pixels, after the camera's rotation was undone."""
    height: int = Field(ge=1)
    bucket: Size | None = None
    """Size that it is trained at; None without aspect buckets: the square of the resolution."""

    @property
    def captions(self) -> tuple[str, ...]:
        """All captions, the first one first."""
        return (self.caption, *self.alternatives)


class TrainingSet(Record):
    """The pictures of a training."""

    folder: str
    """Absolute path of the folder they came from."""
    train: tuple[TrainingPicture, ...] = Field(min_length=1)
    """Those that are trained on, ordered by file name."""
    validation: tuple[TrainingPicture, ...] = ()
    """Those that are only measured: the validation loss."""
    prior: tuple[TrainingPicture, ...] = ()
    """Pictures for prior preservation."""
    passed_over: tuple[str, ...] = ()
    """Files of the folders that are not used, each with the reason."""

    @property
    def shown_in_a_pass(self) -> int:
        """How many pictures a pass over the training pictures shows, repeats counted."""
        return sum(picture.repeats for picture in self.train)


class Crop(Record):
    """How a picture gets another shape: scaled to cover width x height, then cut from the middle. In pixels."""

    scaled_width: int
    scaled_height: int
    left: int
    top: int
    width: int
    height: int


class Checkpoint(Record):
    """A whole checkpoint on disk."""

    path: str
    """Absolute path of checkpoint-N."""
    step: int = Field(ge=1)
    loss: float
    """Mean training loss since the checkpoint before."""
    validation_loss: float | None = None
    """Mean loss over the validation pictures; None where there are none."""


class CheckpointScores(Record):
    """What was measured on the pictures that one checkpoint painted. All are cosines of CLIP features, or made of them.

    How they are computed and compared stands in `models/lora/comparison/choice.py`.
    """

    checkpoint: Checkpoint
    image_similarity: float = Field(validation_alias=AliasChoices("image_similarity", "likeness"))
    """Of its pictures of the character and the training pictures. Earlier versions called it likeness."""
    text_image_similarity: float = Field(validation_alias=AliasChoices("text_image_similarity", "agreement"))
    """Of its pictures and their prompts. Earlier versions called it agreement."""
    variety: float
    """How different they are from each other."""
    drift: float | None
    """What prompts without the trigger word lost: 0 is nothing, 1 is all that told them apart. None where it can't be
    measured, because the base's own pictures do not tell them apart."""
    failed: tuple[str, ...] = ()
    """Bars that it did not reach, each a short sentence with value and bar."""


class Comparison(Record):
    """All checkpoints side by side, and the one to publish."""

    rows: tuple[CheckpointScores, ...] = Field(min_length=1)
    chosen: Checkpoint
    reason: str
    """One line: why this one."""
    rule: str
    """The rule that it was chosen by."""
    grid: str
    """File of the picture that shows them all: a row each checkpoint, the base first; a column each prompt."""


class Published(Record):
    """A published character."""

    location: str
    """What `--lora-path` takes: s3://bucket/prefix/name or a folder."""
    fingerprint: str
    """sha256 over names and contents of its files."""
    files: tuple[str, ...]


class Losses(Record):
    """The losses of a training so far."""

    steps: tuple[int, ...]
    loss: tuple[float, ...]
    learning_rate: tuple[float, ...]
    validation: dict[int, float]
    """Step -> mean loss over the validation pictures."""


def checkpoint_name(step: int) -> str:
    """Name of a checkpoint, and of its folder."""
    return f"checkpoint-{step}"
