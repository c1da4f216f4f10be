"""macOS and Windows lack what Linux has: every module can be imported there, and what can't be done is said."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from training_runs import draw_pictures, make_job

from deployments import up
from models.errors import InputError
from models.lora.configuration.accelerate_settings import AccelerateSettings
from models.lora.options import TrainingOptions
from models.lora.preflight import choose_painting_precision
from models.lora.training import launcher
from models.preflight.devices import precision_on
from models.preflight.resolution import resolve
from models.profiles import PROFILES, ROOT
from models.settings import StoryboardOptions

ELSEWHERE = """
import importlib, os, pkgutil, signal, sys
import filelock, httpx, prefect.flows, prefect.workers.process  # Prefect itself brings what Windows has in their place
for name in ("pthread_sigmask", "SIGHUP", "SIGKILL", "SIGSTOP", "SIGCONT", "SIGUSR1"):
    delattr(signal, name)
for name in ("killpg", "setsid", "getpgid", "fork", "getuid"):
    delattr(os, name)
ABSENT = {"fcntl", "grp", "pwd", "resource", "termios"}
import psutil  # each system has a build of its own, and this is Linux's
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ABSENT:
            raise ModuleNotFoundError(name)
for name in ABSENT:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Absent())
NEED_MORE = ("models.diffusion", "models.vision", "models.lora", "models.frames", "models.painters.ray_router")
for package in ("flows", "tasks", "deployments", "models"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not module.name.startswith(NEED_MORE):
            importlib.import_module(module.name)
            print(module.name)
# Of what needs torch, all that asks the system:
import models.lora.training.launcher
import models.lora.training.worker
import models.lora.preflight
"""


def test_every_module_can_be_imported_where_there_are_no_signals_groups_and_unix_modules() -> None:
    own = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", ELSEWHERE]
    done = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = set(done.stdout.split())
    assert {"flows.commands.running", "deployments.up", "models.preflight.devices", "models.storage.files"} <= told


def test_what_windows_can_not_do_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = draw_pictures(tmp_path_factory.mktemp("training"))
    monkeypatch.delattr(os, "killpg")
    job = make_job(folder, folder, profile="steppe").model_copy(update={"processes": 2})
    with pytest.raises(InputError, match="2 training processes need Linux or macOS: set num_processes to 1"):
        launcher.launch(job, lambda _: None, AccelerateSettings(num_processes=2))
    with pytest.raises(SystemExit):
        up.main([])
    assert capsys.readouterr().err.startswith("error: make up needs Linux or macOS: on Windows use WSL")


@pytest.mark.parametrize("device", ["cpu", "mps", "cuda", "cuda:1"])
@pytest.mark.parametrize("name", PROFILES)
def test_checkpoints_are_compared_in_the_precision_in_which_storyboards_are_painted(name: str, device: str) -> None:
    painted = resolve(StoryboardOptions(device=device), PROFILES[name], "").setup.precision
    assert painted == choose_painting_precision(TrainingOptions(profile=name), device)
    assert painted == precision_on(device, PROFILES[name])
