"""What all tests share: nothing reaches the internet, and no test sees a GPU or anybody's settings by accident.

Tests that run flows ask for `prefect_server`, a real server of their own, which is started once. Tests of what a worker
does ask for `service`, which is started once too, as people start it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from databases import SHARED

if TYPE_CHECKING:
    from flow_runs import Ran, Stage
    from openai_server import Script
    from pages_server import Browse
    from service import Service

    from models.painters.ray_painter import RayPainter


SERVICES = {
    "test_recovery": "killed parts",
    "test_worker": "service",
    "test_worker_flows": "service",
    "test_up_killed": "service",
    "test_up": "service ends",
    "test_postgres": "postgres",
    "test_review_form": "pages",
    "test_canary": "pages",
    "test_dashboard": "pages",
    "test_run_form": "pages",
    "test_export_browser": "pages",
    "test_film_browser": "pages",
    "test_painters": "painters",
    "test_painters_lost": "painters",
    "test_painters_flow": "painters",
    "test_secrets": "secrets",
    "test_up_painters": "painters of a service",
    "test_painters_gone": "painters that go away",
}
"""Files of tests that start servers with workers, PostgreSQL or a browser, and which of them share what they start.

Those with one name run in one process, one after another. The longest come first.
"""
LONGEST = ("test_training_steppe", "test_storyboard_resume", "test_redo_frame", "test_training_processes")
"""Of the others the longest. They are begun first, so that at the end no process waits for one of them alone."""


def _stay_offline_and_alone() -> None:
    """Before anything is imported that reads these."""
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "TOKENIZERS_PARALLELISM": "false",
        # Models this small lose more than they win by waiting for other threads, most of all beside a server at work.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "OMP_WAIT_POLICY": "PASSIVE",  # both as models/__init__.py sets them, which tests may import after torch
        "GOMP_SPINCOUNT": "1000",
    }
    for name in [name for name in os.environ if name.startswith(("STORYBOARD_", "OPENAI_", "AWS_", "PREFECT_API_"))]:
        del os.environ[name]
    os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-home-")
    if SHARED not in os.environ:  # the processes of pytest-xdist inherit it
        os.environ[SHARED] = os.environ["PREFECT_HOME"]


_stay_offline_and_alone()

# A shell ignores Ctrl-C for what it runs in the background, and so would every process that the tests start and end.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: object) -> None:
    """Hide GPUs, unless the GPU tests were asked for: the others say what happens without one."""
    if getattr(config, "option").markexpr != "gpu":  # noqa: B009
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file none of whose tests was asked for: their imports take each process seconds."""
    other = {"service": False, "not gpu and not service and not benchmark": True}.get(config.option.markexpr)
    is_file = collection_path.suffix == ".py"
    return True if is_file and other is not None and other == (collection_path.stem in SERVICES) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process whole files, as `--dist loadfile` does, and files that share what they start to one of them."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    class Sharing(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:  # what xdist's documentation says to replace
            file: str = super()._split_scope(nodeid)
            return SERVICES.get(Path(file).stem, file)

    return Sharing(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a service, and begin with those that wait longest."""
    for item in items:
        assert item.get_closest_marker("service") is None, f"name {item.path.stem} among SERVICES"
        if item.path.stem in SERVICES:
            item.add_marker("service")
        if item.path.stem == "test_benchmarks":
            item.add_marker("benchmark")
    first = (*SERVICES, *LONGEST)
    items.sort(key=lambda item: first.index(item.path.stem) if item.path.stem in first else len(first))


def pytest_unconfigure() -> None:
    """Leave no folder behind."""
    shutil.rmtree(os.environ["PREFECT_HOME"], ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _away_from_settings_before_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The same for what is made once for all tests."""
    with contextlib.chdir(tmp_path_factory.mktemp("away")):
        yield


@pytest.fixture(autouse=True)
def _away_from_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder: a developer's `.env` is read from the current one, and outputs are written there."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _without_this_machines_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show what the embedded font shows, whatever this machine has."""
    from models.board import typefaces

    monkeypatch.setattr(typefaces, "_system_face", lambda letter: ())


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """The address of a real Prefect server with an empty database, which flows and clients here then use.

    It has the services of a command's own server.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    from flows.commands.server_process import OWN

    # The heartbeat's thread adds a second to every flow, and only a worker's runs need it.
    with (
        mock.patch.dict(os.environ, OWN),
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield str(PREFECT_API_URL.value())


@pytest.fixture(scope="session")
def pages_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server for browsers. Its tests look for their own runs there, and leave others alone."""
    import pages_server

    with pages_server.serving(tmp_path_factory.mktemp("pages")) as url:
        yield url


@pytest.fixture(scope="session")
def browse(pages_server: str) -> Iterator[Browse]:
    """A browser that looks at that server's pages."""
    from pages_server import browsing

    with browsing(pages_server) as browse:
        yield browse


@pytest.fixture
def tiny_profile(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The profile "tiny", away from anybody's `.env`."""
    import tiny_models

    from models.profiles import PROFILES

    monkeypatch.setitem(PROFILES, "tiny", tiny_models.made_once(tmp_path_factory))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="session")
def _told_once() -> list[Ran]:
    return []


@pytest.fixture
def told(
    _told_once: list[Ran], tiny_profile: None, prefect_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Ran:
    """A finished storyboard of six frames, made once and left as it is; `Stage.begin_with` copies it."""
    from flow_runs import Stage

    if not _told_once:
        _told_once.append(Stage(tmp_path_factory.mktemp("told") / "outputs").run(frames=6))
    return _told_once[0]


@pytest.fixture
def stage(tiny_profile: None, prefect_server: str, tmp_path: Path) -> Stage:
    """An empty place to run the flow in."""
    from flow_runs import Stage

    return Stage(tmp_path / "outputs")


@pytest.fixture(scope="session")
def paid_writer() -> Iterator[Script]:
    """The language model's server of `service`. It refuses every key until a test chooses other replies."""
    import openai_server

    with openai_server.serving(openai_server.failure(401, "no such key")) as script:
        yield script


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, paid_writer: Script) -> Iterator[Service]:
    """Server, pool, deployments and one worker, with keys; for tests that leave all of them as they are."""
    import service as services
    import tiny_models

    folder, world = tmp_path_factory.mktemp("service"), tiny_models.made_once(tmp_path_factory)
    keys = {"OPENAI_API_KEY": services.OPENAI_KEY, "AWS_SECRET_ACCESS_KEY": services.AWS_KEY}
    with services.started(folder, world, **keys, OPENAI_BASE_URL=paid_writer.base_url) as service:
        yield service


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Ray cluster with one warm painter on the CPU."""
    import painters_cluster

    with painters_cluster.running(tmp_path_factory.mktemp("painters")) as address:
        yield address


@pytest.fixture(scope="session")
def painter(address: str) -> RayPainter:
    """The asking side of that painter."""
    from models.painters.ray_painter import RayPainter

    return RayPainter(address)
