"""The flow that trains a character from captioned pictures and publishes it.

python -m flows.training --config configs/training_steppe.yaml

checks ── pictures ── latents ── train ── compare checkpoints ── publish
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before Prefect, which takes two seconds to import: --help and a wrong option are answered at once.
    from flows.commands.collecting import run_program
    from flows.commands.training import main

    run_program(main)

from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run
from pydantic import TypeAdapter

from flows.logs import prepare_logs
from flows.outcome import completed, failing_in_words, run_name
from models.forms.form import UNSET, OptionalText
from models.forms.training import TrainingForm
from models.lora.configuration.accelerate_settings import read_accelerate_config
from models.lora.configuration.config_files import training_options
from models.lora.training.belonging import held
from models.painters.ray_gpus import held_gpus
from models.settings import painters_here
from tasks.training import (
    check_training,
    compare_checkpoints,
    encode_latents,
    publish_character,
    read_pictures,
    train_character,
)

prepare_logs()


def _name() -> str:
    options = TypeAdapter(TrainingForm).validate_python(flow_run.parameters.get("options") or {})
    return run_name(f"{options.character()} from {Path(options.train_data_dir).name}")


@flow(name="train-lora", flow_run_name=_name)
@failing_in_words
def train_lora(config: OptionalText = "", options: TrainingForm = UNSET) -> str:
    """Train a character from captioned pictures, choose its best checkpoint, and publish it.

    Args:
        config: A configuration file such as configs/training_config.yaml, on the machine that trains. Empty: none.
        options: Options set here override the configuration file. Empty or auto ones are taken from it, the profile or
            the machine.

    Returns:
        The place of publication, which a storyboard takes as lora_path.
    """
    chosen = training_options(options.model_dump(exclude_unset=True), Path(config) if config else None)
    settings = read_accelerate_config(Path(chosen.accelerate_config) if chosen.accelerate_config else None)
    run = str(flow_run.id)
    gpus = held_gpus(painters_here()["painters"], settings.num_processes if settings else 1)
    with held(Path(chosen.output_dir).absolute()), gpus:
        check_training(chosen, settings, run)
        pictures = read_pictures(chosen, settings)
        encode_latents(chosen, settings, pictures)
        trained = train_character(chosen, settings, pictures, run)
        comparison = compare_checkpoints(chosen, settings, pictures, trained)
        published = publish_character(chosen, pictures, comparison)
    return completed(published.location, f"published: {published.location}")
