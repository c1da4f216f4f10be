"""The model card (README.md) of a published character, and the metadata of its kohya file.

The card has the form of Hugging Face's model cards (https://huggingface.co/docs/hub/model-cards): YAML, then Markdown.
Every figure in it was measured; what was not is said to be so.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.bases.configurations import read_configs
from models.board.markdown import escape
from models.lora.buckets import count_buckets
from models.lora.options import TrainingOptions
from models.lora.publishing.character import kohya_name, location_of, samples_name
from models.lora.records import Checkpoint, CheckpointScores, Comparison, TrainingSet
from models.profiles import ROOT
from models.storage.adapters import ADAPTER_FOLDERS, ADAPTER_WEIGHTS, SINGLE_FILE
from models.storage.files import local_errors

TAGS = ("text-to-image", "stable-diffusion-xl", "lora", "diffusers", "template:sd-lora")
SETTINGS = (
    *("rank", "alpha", "dropout", "target_modules", "lora_init_type", "train_batch_size"),
    *("gradient_accumulation_steps", "learning_rate", "lr_scheduler", "lr_restarts", "lr_power"),
    *("warmup_steps", "optimizer", "weight_decay"),
    *("max_grad_norm", "min_snr_gamma", "noise_offset", "ema_decay", "caption_dropout", "random_flip"),
    *("prior_loss_weight", "seed", "save_precision"),
)
"""Options that the card repeats; those that say where things lie are left out."""
NOT_MEASURED = "not measured"


def model_card(options: TrainingOptions, training_set: TrainingSet, comparison: Comparison, base: str) -> str:
    """README.md of a published character.

    Args:
        options: of the training.
        training_set: the pictures it was trained on.
        comparison: the checkpoints that were compared, and the one that is published.
        base: the base's hub repository, or its folder.
    """
    sections = (
        _front_matter(options, comparison, base),
        _introduction(options, training_set, comparison, base),
        _use(options, training_set, base),
        _training(options, training_set, comparison, base),
        _comparison(comparison),
    )
    return "\n".join(sections)


def file_metadata(options: TrainingOptions, checkpoint: Checkpoint) -> dict[str, str]:
    """What the header of the kohya file says about the training, by sd-scripts' and ModelSpec's names.

    The date is that of the checkpoint's weights, so that publishing again writes the same bytes.

    Raises:
        StoryboardError: the base's or the checkpoint's files can't be read.
    """
    profile = options.get_profile()
    base, schedule = profile.base, read_configs(profile.base, profile.layout).get("scheduler", {})
    weights = Path(checkpoint.path) / ADAPTER_FOLDERS[0] / ADAPTER_WEIGHTS[0]
    with local_errors(weights):
        written = datetime.fromtimestamp(int(weights.stat().st_mtime), UTC)
    return {
        "ss_output_name": options.character(),
        "ss_sd_model_name": _name_of_base(base.source),
        "modelspec.title": options.character(),
        "modelspec.resolution": f"{options.side()}x{options.side()}",
        "modelspec.trigger_phrase": options.trigger_word(),
        "modelspec.date": written.isoformat(),
        "modelspec.prediction_type": "v" if schedule.get("prediction_type") == "v_prediction" else "epsilon",
    }


def _name_of_base(source: str) -> str:
    """The base as others can understand it: a repository, or a folder without what lies above this project."""
    path = Path(source)
    if not path.is_absolute():
        return source
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def _front_matter(options: TrainingOptions, comparison: Comparison, base: str) -> str:
    """YAML that the hub reads. A base that is a folder is no repository, and is not named as one."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        base_model=None if Path(base).is_absolute() else base,
        library_name="diffusers",
        pipeline_tag="text-to-image",
        tags=list(TAGS),
        instance_prompt=options.trigger_word(),
        widget=[{"text": options.trigger_word(), "output": {"url": samples_name(Path(comparison.grid))}}],
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _introduction(options: TrainingOptions, training_set: TrainingSet, comparison: Comparison, base: str) -> str:
    chosen = comparison.chosen
    count = len(training_set.train)
    return f"""# {escape(options.character())}

A LoRA for {escape(_name_of_base(base))}: one character, trained on {count} pictures in {chosen.step} steps. It fits
that base alone.

Trigger word: **{escape(options.trigger_word())}**. Without it in the prompt the character does not come.

![Pictures of every compared checkpoint, a row each; the base first]({samples_name(Path(comparison.grid))})
"""


def _use(options: TrainingOptions, training_set: TrainingSet, base: str) -> str:
    name, source = options.character(), location_of(options.publish_to, options.character())
    remote = source.startswith("s3:")
    fetching = f", after `aws s3 cp --recursive {shlex.quote(source)} {shlex.quote(name)}`" if remote else ""
    # A folder is named as whoever has the card has it: what lies above it is the publisher's own affair.
    where = "" if remote else f", from the folder that holds `{name}`"
    return f"""## Use

As a storyboard{where}:

```sh
python -m flows.storyboard "Aldar Köse outwits the khan" --profile {options.get_profile().name} \\
  --lora-path {shlex.quote(source if remote else name)}
```

With diffusers{fetching or where}:

```python
from diffusers import StableDiffusionXLPipeline

pipeline = StableDiffusionXLPipeline.from_pretrained({_quoted(_name_of_base(base))}).to("cuda")
pipeline.load_lora_weights({_quoted(name)}, weight_name="{SINGLE_FILE}")
pipeline({_quoted(training_set.train[0].caption)}).images[0].save("picture.png")
```

In ComfyUI, A1111 or InvokeAI, with the same base: put {escape(kohya_name(name))} into the folder of LoRAs.

All of these act alike, also in programs that read no alpha: it was trained at alpha / rank =
{options.alpha / options.rank:g}, which is multiplied into the weights, and every file says alpha = rank.
"""


def _quoted(text: str) -> str:
    """A string as Python writes it, on one line."""
    return json.dumps(" ".join(text.split()), ensure_ascii=False)


def _training(options: TrainingOptions, training_set: TrainingSet, comparison: Comparison, base: str) -> str:
    values = options.model_dump(include=set(SETTINGS))
    if not training_set.prior:
        values.pop("prior_loss_weight")
    if options.max_train_steps is not None:
        values["warmup_steps"] = options.warmup(options.max_train_steps)
    rows = [(name, _shown(values[name])) for name in SETTINGS if values.get(name) is not None]
    pictures = [f"{len(training_set.train)} trained on", f"{len(training_set.validation)} validation pictures"]
    if training_set.prior:
        pictures.append(f"{len(training_set.prior)} for prior preservation")
    if training_set.shown_in_a_pass > len(training_set.train):
        pictures.append(f"with repeats {training_set.shown_in_a_pass} in a pass")
    if training_set.passed_over:
        pictures.append(f"{len(training_set.passed_over)} other files not used")
    facts = [
        ("base", _name_of_base(base)),
        ("pictures", ", ".join(pictures)),
        ("resolution", f"{options.side()}x{options.side()}"),
        *([("aspect buckets", _buckets_of(training_set))] if options.aspect_buckets else []),
        ("steps of the published checkpoint", str(comparison.chosen.step)),
    ]
    return "## Training\n\n" + _table(("setting", "value"), [*facts, *rows])


def _buckets_of(training_set: TrainingSet) -> str:
    shown = count_buckets(training_set.train)
    return ", ".join(f"{size} ({count})" for size, count in shown.items())


def _comparison(comparison: Comparison) -> str:
    head = (
        "checkpoint",
        "training loss",
        "validation loss",
        "image similarity",
        "text–image similarity",
        "variety",
        "drift",
        "bars missed",
    )
    rows = [_row_of(scores, comparison.chosen) for scores in comparison.rows]
    return f"""## Why this checkpoint

Rule: {escape(comparison.rule)}

Reason: {escape(comparison.reason)}

{_table(head, rows)}
All but the losses come from CLIP's features of pictures that each checkpoint painted. Image similarity: to the
training pictures. Text–image similarity: to the prompts. Variety: how different its pictures are from each other.
Drift: what prompts without the trigger word lost, where 0 is nothing and 1 all that told them apart.
"""


def _row_of(scores: CheckpointScores, chosen: Checkpoint) -> tuple[str, ...]:
    checkpoint = scores.checkpoint
    return (
        f"{checkpoint.step} (published)" if checkpoint.step == chosen.step else str(checkpoint.step),
        _measured(checkpoint.loss, 4),
        _measured(checkpoint.validation_loss, 4),
        *(
            _measured(value, 3)
            for value in (scores.image_similarity, scores.text_image_similarity, scores.variety, scores.drift)
        ),
        "; ".join(scores.failed) or "none",
    )


def _measured(value: float | None, digits: int) -> str:
    return f"{value:.{digits}f}" if value is not None and math.isfinite(value) else NOT_MEASURED


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([escape(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
