"""Seconds from a command to the first picture on disk, with models on this machine's disk and nothing in memory.

    python -m benchmarks.cold_start                       # the offline profile
    python -m benchmarks.cold_start --models FOLDER       # the models of benchmarks.full_size

script       a plain diffusers script: from_pretrained, to the device, a LoRA, one picture, saved
first        python -m flows.storyboard with no compiled kernels; in the first run Prefect also creates its database
command      the same again
deployment   a deployment run of a running service

Each runs as a process of its own. The script loads only the models for its one picture; the others also load the
ControlNet and CLIP, and run the writer first. A picture counts when its file is complete.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from benchmarks.architectures import PROFILES_FILE
from benchmarks.figures import Figures, choose, parser_for
from benchmarks.full_size import known, lora_of
from benchmarks.offline_storyboard import STORY
from benchmarks.storyboard import own_adapter
from models.board.directory import frame_name
from models.lora.publishing.export import write_diffusers_file
from models.preflight.devices import precision_on
from models.profiles import ROOT, STEPPE
from models.sources import OWN_PROFILES
from models.storage.adapters import SINGLE_FILE

WAYS = ("script", "first", "command", "deployment")
PATIENCE = 300.0
"""Seconds after which a wait fails."""
_LOOK_EVERY = 0.02
QUIET = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


class Starts:
    """The ways to a first picture of one profile on one device.

    Args:
        models: folder of `benchmarks.full_size`, or None for the offline profile.
        device: a torch device.
        folder: for all outputs.
        steps: denoising steps, or None for the profile's.
    """

    def __init__(self, models: Path | None, device: str, folder: Path, steps: int | None) -> None:
        profile = known(models) if models else STEPPE
        adapter = lora_of(models) if models else own_adapter(profile)
        self.folder, self.device, self.compiled = folder, device, folder / "compiled"
        self.steps = steps or profile.steps
        self.options = {"profile": profile.name, "frames": 1, "attempts": 1, "steps": self.steps, "device": device}
        self.options["lora_path"] = adapter.path
        precision = precision_on(device, profile)
        lora = folder / "lora" / SINGLE_FILE
        lora.parent.mkdir()
        write_diffusers_file(Path(adapter.path), lora)
        shape = ["--size", str(profile.native_size), "--guidance", str(profile.guidance)]
        told = ["--device", device, "--dtype", DTYPES[precision], "--steps", str(self.steps), *shape]
        self.script = ["benchmarks.stock_script", profile.base.source, str(lora), "{folder}/picture.png", *told]
        own = {OWN_PROFILES: str(models.absolute() / PROFILES_FILE)} if models else {}
        home = {"PREFECT_HOME": str(folder / "prefect"), "TRITON_CACHE_DIR": str(self.compiled)}
        self.environment = {**os.environ, **QUIET, **own, **home, "PYTHONPATH": _with_root()}

    def by_script(self, place: Path) -> float:
        """Return the seconds of the stock script."""
        command = [word.format(folder=place) for word in self.script]
        return self._seconds_to(place, "picture.png", lambda: self._process(command, place))

    def by_command(self, place: Path) -> float:
        """Return the seconds of the storyboard's command."""
        options = {**self.options, "output_dir": str(place)}
        given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        command = ["flows.storyboard", *given, "--", STORY]
        return self._seconds_to(place, f"*/{frame_name(1)}", lambda: self._process(command, place))

    def by_first_command(self, place: Path) -> float:
        """Return the seconds of the same command with an empty Triton cache."""
        shutil.rmtree(self.compiled, ignore_errors=True)
        return self.by_command(place)

    def by_deployment(self, place: Path, port: int) -> float:
        """Return the seconds of a deployment run, created over the API of a running service."""
        options = {**self.options, "output_dir": str(place)}

        @contextmanager
        def asked() -> Iterator[Callable[[], bool]]:
            made = _ask(port, "deployments/name/storyboard/steppe")["id"]
            parameters = {"story": STORY, "options": options}
            run = _ask(port, f"deployments/{made}/create_flow_run", {"parameters": parameters})["id"]
            state = f"flow_runs/{run}"
            yield lambda: _ask(port, state)["state_type"] in ("COMPLETED", "FAILED", "CRASHED")
            _until(lambda: _ask(port, state)["state_type"] == "COMPLETED", f"the run failed: {run}")

        return self._seconds_to(place, f"*/{frame_name(1)}", asked)

    @contextmanager
    def service(self) -> Iterator[int]:
        """Inside, a service runs on this machine; yields its port."""
        port, place = _free_port(), self.folder / "service"
        place.mkdir()
        with self._started(["deployments.up", "--port", str(port)], place) as process:
            said = place / "said.txt"
            _until(lambda: "Ctrl-C ends" in said.read_text() or process.poll() is not None, "the service did not start")
            yield port
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)

    @contextmanager
    def _process(self, command: list[str], place: Path) -> Iterator[Callable[[], bool]]:
        with self._started(command, place) as process:
            yield lambda: process.poll() is not None
            if process.wait(PATIENCE):
                raise RuntimeError(f"exit code {process.returncode}: {(place / 'said.txt').read_text()[-2000:]}")

    @contextmanager
    def _started(self, command: list[str], place: Path) -> Iterator[subprocess.Popen[bytes]]:
        line = [sys.executable, "-m", *command]
        with (place / "said.txt").open("wb") as said, _ended(line, place, self.environment, said) as process:
            yield process

    def _seconds_to(self, place: Path, pattern: str, start: Callable[[], Any]) -> float:
        began = time.perf_counter()
        with start() as has_ended:
            _until(lambda: _is_whole(place, pattern) or has_ended(), "no picture came")
            seconds = time.perf_counter() - began
        if not _is_whole(place, pattern):
            raise RuntimeError(f"it ended without a picture: {place}")
        return seconds


@contextmanager
def _ended(line: list[str], place: Path, own: dict[str, str], said: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process, and kill its process group at the end."""
    with subprocess.Popen(line, cwd=place, env=own, stdout=said, stderr=said, start_new_session=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _is_whole(place: Path, pattern: str) -> bool:
    """Whether a PNG with its end marker exists."""
    return any(file.read_bytes()[-8:-4] == b"IEND" for file in place.glob(pattern))


def _until(what: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(_LOOK_EVERY)


def _ask(port: int, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/{path}", data, {"content-type": "application/json"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=PATIENCE) as answer:
        return json.loads(answer.read())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _with_root() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def main() -> None:
    """Measure all ways, one after another, and print the figures. Exit code 1 if one failed."""
    parser = parser_for("cold_start", __doc__)
    parser.add_argument("--models", type=Path, help="folder of benchmarks.full_size (default: the offline profile)")
    parser.add_argument("--runs", type=int, default=1, help="of each; medians are printed (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="denoising steps (default: the profile's)")
    parser.add_argument("--only", nargs="*", choices=WAYS, default=WAYS, help="only these ways")
    given = parser.parse_args()
    figures = Figures(given.out, choose(given.device))
    figures.header("cold start on")
    medians: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        starts = Starts(given.models, figures.device, folder, given.steps)

        def measure(way: str, once: Callable[[Path], float]) -> None:
            seconds = []
            for run in range(given.runs):
                place = folder / f"{way}{run}"
                place.mkdir()
                seconds.append(once(place))
                figures.note(way, seconds=seconds[-1])
            medians[way] = statistics.median(seconds)

        commands = {"script": starts.by_script, "first": starts.by_first_command, "command": starts.by_command}
        for way in [way for way in commands if way in given.only]:
            with figures.part(way):
                measure(way, commands[way])
        if "deployment" in given.only:
            with figures.part("deployment"), starts.service() as port:
                measure("deployment", lambda place: starts.by_deployment(place, port))
    ratios = {f"{way}_times_script": medians["script"] / medians[way] for way in medians if "script" in medians}
    figures.note("cold start", **{f"{way}_s": value for way, value in medians.items()}, **ratios)
    raise SystemExit(1 if figures.failed else 0)


if __name__ == "__main__":
    main()
