"""The whole training flow on a real Prefect server: from pictures to a published character that a storyboard uses."""

from __future__ import annotations

import io
import re
import shutil
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import s3_server
import tiny_models
from flow_runs import Ran, Stage
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from s3_server import S3Server
from training_runs import draw_pictures
from waiting import until

from flows.training import train_lora
from models.errors import ChecksFailed, DatasetInvalid, InputError, TrainingError
from models.lora.options import TrainingOptions
from models.lora.training import checkpoints
from models.lora.training.belonging import held
from models.profiles import PROFILES
from models.s3.adapters import fetch_adapter

running_server, server = s3_server.running_server, s3_server.server
TASKS = ("checks", "pictures", "latents", "train tiny_hero", "compare checkpoints", "publish")


def train(output: Path, pictures: Path, **changes: Any) -> Ran:
    """Run the flow for eight updates; whether it succeeded shows in its state."""
    plain = {"profile": "tiny", "device": "cpu", "rank": 4, "alpha": 2, "learning_rate": 1e-2, "warmup_steps": 2}
    counts = {"max_train_steps": 8, "checkpointing_steps": 4, "train_batch_size": 2, "validation_seeds": 2}
    prompts = {
        "validation_prompts": ["aldar_kose_man in a yurt", "aldar_kose_man on a horse"],
        "unrelated_prompts": ["a merchant in a yellow robe", "a camel by the river"],
    }
    places = {"output_dir": str(output), "publish_to": str(output.parent / "published"), "name": "tiny_hero"}
    # A base of random numbers tells no prompt from another, so that none of its checkpoints passes the comparison.
    given = {**plain, **counts, **prompts, **places, "publish_anyway": True, "train_data_dir": str(pictures), **changes}
    return Ran(train_lora(options=TrainingOptions.model_validate(given), return_state=True), output)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures"), 22)


@pytest.fixture(scope="module")
def done(prefect_server: str, tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Iterator[Ran]:
    """A finished training, made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROFILES, "tiny", tiny_models.made_once(tmp_path_factory))
        yield train(tmp_path_factory.mktemp("done") / "checkpoints", pictures)


@pytest.fixture
def trained(done: Ran, tiny_profile: None) -> Ran:
    """The finished training, seen by a test that knows the tiny profile."""
    return done


def picture_in(markdown: str) -> Image.Image:
    """The picture that the text carries."""
    found = re.search(r"data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)", markdown)
    assert found, markdown[:200]
    return Image.open(io.BytesIO(b64decode(found[1])))


def lines_of(ran: Ran) -> list[str]:
    """The run's log, its tasks' included."""
    own = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[ran.run_id]))
    with get_client(sync_client=True) as client:
        return [log.message for log in client.read_logs(log_filter=own)]


def ended_lines(ran: Ran) -> str:
    """The run's log once its last lines have arrived: they are sent on a moment later."""
    lines = "\n".join(lines_of(ran))
    return lines if "published: " in lines else ""


def test_it_ends_with_the_place_of_a_whole_publication(trained: Ran) -> None:
    assert trained.state.is_completed(), trained.state.message
    folder = Path(trained.state.result())
    assert folder == trained.output.parent / "published/tiny_hero"
    names = {path.name for path in folder.iterdir()}
    assert {"README.md", "manifest.json", "tiny_hero.safetensors", "unet_lora"} <= names
    assert checkpoints.list_steps(trained.output) == [4, 8]


def test_every_stage_is_a_task_that_ended(trained: Ran) -> None:
    runs = trained.task_runs()
    assert {name.partition(":")[0] for name in runs} == set(TASKS)
    assert all(run.state is not None and run.state.is_completed() for run in runs.values())


def test_the_dashboard_shows_pictures_losses_and_the_choice(trained: Ran) -> None:
    shown = trained.artifacts()
    for key in ("training-pictures", "loss-curve", "checkpoint-grid"):
        assert picture_in(str(shown[key].data)).width >= 500
    assert re.search(r"!\[Loss up to step 8, [\d.e+]+ steps per second\]", str(shown["loss-curve"].data))
    assert '"step": 8' in str(shown["checkpoints"].data)
    assert not {"latents", "training", "comparison"} & shown.keys(), "bars that are full"


def test_the_log_says_what_is_trained(trained: Ran) -> None:
    lines = until(lambda: ended_lines(trained))
    assert "20 pictures for training, 2 for validation" in lines
    assert "max_train_steps wins over num_train_epochs 1" in lines
    assert re.search(r"step 8/8: loss \d\.\d{4}, learning rate", lines)


def test_event_files_are_there_for_tensorboard(trained: Ran) -> None:
    assert list((trained.output / "logs").rglob("events.out.tfevents.*"))


def test_a_storyboard_paints_with_it(trained: Ran, stage: Stage) -> None:
    told = stage.run(frames=2, lora_path=str(trained.state.result()))
    assert told.state.is_completed(), told.state.message
    adapter = fetch_adapter(str(trained.state.result()), cache_dir=stage.output, keys=s3_server.make_keys())
    assert told.report.weights.adapter == adapter.fingerprint
    assert told.pictures != stage.run(frames=2, lora_path="none").pictures


def test_it_is_published_to_s3_and_found_there_by_its_name(
    trained: Ran, stage: Stage, server: S3Server, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server_environment(server).items():
        monkeypatch.setenv(name, value)
    output = Path(shutil.copytree(trained.output, tmp_path / "checkpoints"))
    place = f"s3://{server.make_bucket()}/characters"
    ran = train(output, pictures, resume_from_checkpoint="latest", publish_to=place)
    assert ran.state.result() == f"{place}/tiny_hero"
    told = stage.run(frames=2, lora_path=f"{place}/tiny_hero")
    assert told.state.is_completed(), told.state.message


def server_environment(server: S3Server) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": s3_server.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": s3_server.SECRET_KEY}
    return {**keys, "AWS_ENDPOINT_URL": server.url}


def test_what_is_wrong_is_told_before_any_work(trained: Ran, pictures: Path, tmp_path: Path) -> None:
    before = sorted(trained.output.rglob("*"))
    ran = train(trained.output, pictures, publish_to="https://elsewhere", validation_prompts=["one", "two"])
    with pytest.raises(ChecksFailed) as told:
        ran.state.result()
    problems = told.value.problems
    assert len(problems) == 3
    assert "holds checkpoint-8 of an earlier training: go on from it with --resume-from-checkpoint" in problems[0]
    assert "aldar_kose_man" in problems[1]
    assert "https://… is no place to publish to" in problems[2]
    assert ran.state.is_failed()
    assert sorted(trained.output.rglob("*")) == before


def test_a_publication_is_replaced_only_where_that_is_asked_for(trained: Ran, pictures: Path, tmp_path: Path) -> None:
    published = Path(str(trained.state.result()))
    before = (published / "manifest.json").read_bytes()
    ran = train(tmp_path / "other", pictures, publish_to=str(published.parent))
    with pytest.raises(
        ChecksFailed, match=r"tiny_hero: an earlier publication is there; choose another --name, or let"
    ):
        ran.state.result()
    assert not list((tmp_path / "other").glob("checkpoint-*"))
    # Going on from the training's own checkpoints publishes the same weights.
    again = train(trained.output, pictures, resume_from_checkpoint="latest")
    assert again.state.result() == str(published)
    assert (published / "manifest.json").read_bytes() == before


def test_a_checkpoint_that_fails_the_comparison_is_kept_and_not_published(
    trained: Ran, pictures: Path, tmp_path: Path
) -> None:
    output = Path(shutil.copytree(trained.output, tmp_path / "checkpoints"))
    ran = train(output, pictures, resume_from_checkpoint="latest", publish_anyway=False)
    said = (
        r"nothing is published: no checkpoint reaches every bar; .* kept in .*/checkpoint-[48], and .*--publish-anyway"
    )
    with pytest.raises(TrainingError, match=said):
        ran.state.result()
    assert not list((tmp_path / "published").iterdir())
    assert checkpoints.list_steps(output) == [4, 8]


def test_two_trainings_can_not_share_a_folder(trained: Ran, pictures: Path) -> None:
    with held(trained.output):
        ran = train(trained.output, pictures, resume_from_checkpoint="latest")
    with pytest.raises(InputError, match=r"another training is at work there; wait until it ends, or choose another"):
        ran.state.result()
    assert checkpoints.list_steps(trained.output) == [4, 8]


def test_faults_of_the_pictures_are_the_runs_message(trained: Ran, tmp_path: Path) -> None:
    folder = draw_pictures(tmp_path / "faulty", 3)
    (folder / "001.txt").unlink()
    (folder / "002.png").write_bytes(b"no picture")
    ran = train(tmp_path / "checkpoints", folder)
    with pytest.raises(DatasetInvalid, match=r"001\.png: .*; 002\.png: "):
        ran.state.result()
    assert not list((tmp_path / "checkpoints").glob("checkpoint-*"))
