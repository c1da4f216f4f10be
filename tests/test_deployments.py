"""prefect.yaml against the flows, and what the service's other files say; no server is started here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import Mock

import pytest
import yaml
from prefect.cli.deploy._models import DeploymentConfig, PrefectYamlModel
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL, temporary_settings
from service import free_port

from deployments import bootstrap, gpus, pool, up
from models.errors import InputError, StoryboardError
from models.profiles import ROOT

FILE = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))
DECLARED: list[dict[str, Any]] = FILE["deployments"]
PAINTING = {"storyboard", "train-lora", "redo-frame", "edit-board", "screenplay", "storybook", "calibrate-hero"}
FLOWS = PAINTING | {"export-board"}
PUBLISHED_NAMES = {"export-board/files", *(f"{flow}/{variant}" for flow in PAINTING for variant in ("steppe", "gpu"))}
NEEDED = {
    "story": "Aldar Köse outwits the khan",
    "board": "outputs/board",
    "frame": 2,
    "script": "tale.fountain",
    "folder": "data/images",
}
"""What a person says, of parameters without a default."""
FOLDER = ROOT / "deployments"


def flow_of(declared: dict[str, Any]) -> Flow[..., Any]:
    return load_flow_from_entrypoint(declared["entrypoint"], use_placeholder_flow=False)


def name_of(declared: dict[str, Any]) -> str:
    return f"{declared['entrypoint']}/{declared['name']}"


each = pytest.mark.parametrize("declared", DECLARED, ids=name_of)


def test_every_deployment_that_people_are_told_of_is_there_once() -> None:
    names = [f"{flow_of(declared).name}/{declared['name']}" for declared in DECLARED]
    assert set(names) >= PUBLISHED_NAMES
    assert len(names) == len(set(names)) == bootstrap.declared()
    assert {name.partition("/")[0] for name in names} <= FLOWS


def test_prefect_understands_every_key() -> None:
    PrefectYamlModel.model_validate(FILE)
    assert {key for declared in DECLARED for key in declared} <= set(DeploymentConfig.model_fields)


@each
def test_entrypoints_are_modules(declared: dict[str, Any]) -> None:
    """A file's path would put its folder first on sys.path."""
    assert re.fullmatch(r"flows\.\w+:\w+", declared["entrypoint"])


@each
def test_it_says_what_it_is_and_where_it_waits(declared: dict[str, Any]) -> None:
    assert declared["description"].endswith(".")
    assert declared["tags"]
    assert declared["work_pool"]["name"] == pool.POOL
    assert declared["work_pool"]["work_queue_name"] in pool.QUEUES
    assert "concurrency_limit" not in declared  # the pool's slots keep the order, a deployment's own limit does not


@each
def test_its_parameters_are_right_and_state_only_what_differs(declared: dict[str, Any]) -> None:
    flow, given = flow_of(declared), declared.get("parameters", {})
    properties = flow.parameters.properties
    assert set(given) <= set(properties)
    asked = {name: value for name, value in NEEDED.items() if name in properties}
    validated = flow.validate_parameters({**asked, **given})
    assert set(validated) >= set(given)
    assert all(value != properties[name].get("default") for name, value in given.items())


@each
def test_wrong_parameters_are_refused(declared: dict[str, Any]) -> None:
    assert declared["enforce_parameter_schema"] is True


@each
def test_files_that_it_names_are_there(declared: dict[str, Any]) -> None:
    config = declared.get("parameters", {}).get("config")
    assert config is None or (ROOT / config).is_file()


@each
def test_its_profile_stays_where_a_run_is_given_options_of_its_own(declared: dict[str, Any]) -> None:
    options = declared.get("parameters", {}).get("options", {})
    pool = declared["work_pool"]
    environment = pool.get("job_variables", {}).get("env", {})
    asks_painters = not declared["entrypoint"].startswith("flows.calibrate:")
    queue = {"STORYBOARD_QUEUE": "batch"} if asks_painters and pool["work_queue_name"] == "batch" else {}
    assert environment == ({"STORYBOARD_PROFILE": options["profile"], **queue} if "profile" in options else {})


@each
def test_schedules_are_examples_that_run_nothing(declared: dict[str, Any]) -> None:
    for schedule in declared.get("schedules", []):
        assert schedule["active"] is False
        flow_of(declared).validate_parameters({**declared["parameters"], **schedule["parameters"]})


def test_there_is_an_example_of_a_nightly_run() -> None:
    assert [schedule["slug"] for declared in DECLARED for schedule in declared.get("schedules", [])] == ["nightly"]


def test_code_is_not_copied_and_no_folder_of_this_machine_is_named() -> None:
    assert FILE["pull"] == [{"prefect.deployments.steps.set_working_directory": {"directory": "."}}]
    for file in (ROOT / "prefect.yaml", *FOLDER.iterdir()):
        if file.is_file():
            assert str(ROOT) not in file.read_text("utf-8")
            assert str(Path.home()) + "/" not in file.read_text("utf-8")


def test_runs_start_where_their_worker_was_started() -> None:
    template = pool.job_template()
    assert template["variables"]["properties"]["working_dir"]["default"] == "."
    assert template["job_configuration"]["working_dir"] == "{{ working_dir }}"


@pytest.mark.parametrize("name", ["process", "kubernetes"])
def test_prefect_accepts_the_template(name: str) -> None:
    kubernetes = json.loads((FOLDER / "kubernetes-job-template.json").read_text("utf-8"))
    template = kubernetes if name == "kubernetes" else pool.job_template()
    WorkPoolCreate(name=pool.POOL, type=name, base_job_template=template)
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    variables = template["variables"]["properties"]
    assert used - {"env"} == set(variables) - {"env"}  # each variable does something
    environment = variables["env"].get("default") or template["job_configuration"]["env"]
    assert environment == pool.RUN_ENVIRONMENT
    assert not re.search("key|secret|password|token", " ".join(environment).lower())


def test_a_kubernetes_run_gets_a_gpu_and_its_keys_from_a_secret() -> None:
    template = json.loads((FOLDER / "kubernetes-job-template.json").read_text("utf-8"))
    [container] = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "{{ gpus }}"
    assert container["envFrom"] == [{"secretRef": {"name": "{{ keys_secret }}", "optional": True}}]
    assert template["variables"]["properties"]["gpus"]["default"] == 1


def test_what_waits_for_a_person_is_not_crashed() -> None:
    trigger: Any = pool.watchdog().trigger
    assert {"prefect.flow-run.Paused", "prefect.flow-run.Suspended"} <= trigger.expect
    assert "prefect.flow-run.heartbeat" in trigger.after & trigger.expect
    beat = int(pool.RUN_ENVIRONMENT["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    assert trigger.within.total_seconds() >= 3 * beat


def test_compose_holds_together() -> None:
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
    services = compose["services"]
    assert set(services) == {"database", "server", "bootstrap", "worker"}
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        volumes = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        assert volumes <= set(compose["volumes"])
    [gpu] = services["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert gpu["capabilities"] == ["gpu"]
    assert services["worker"]["command"][-5:-2] == [pool.POOL, "--limit", "1"]
    assert services["server"]["environment"]["PREFECT_SERVER_DATABASE_CONNECTION_URL"].startswith("postgresql+asyncpg")
    assert (ROOT / "deployments" / services["worker"]["build"]["context"]).resolve() == ROOT
    assert (ROOT / services["worker"]["build"]["dockerfile"]).is_file()


def test_no_password_is_written_down_and_only_the_worker_gets_keys() -> None:
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
    assert [name for name, service in compose["services"].items() if "env_file" in service] == ["worker"]
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            assert value.startswith("${") or not name.endswith(("PASSWORD", "AUTH_STRING"))
    lines = (FOLDER / "worker.env.example").read_text("utf-8").splitlines()
    assert not [line for line in lines if re.match(r"(OPENAI|AWS|PREFECT_API_AUTH)", line)]
    assert "worker.env" in (FOLDER / ".gitignore").read_text("utf-8").splitlines()


def test_a_worker_sees_the_gpus_that_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert gpus.visible_gpus() == ["2", "5"]
    seen = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in ("2", "5")]
    assert up.workers_of(2, painted_elsewhere=False) == [(1, seen[0]), (1, seen[1])]
    assert up.workers_of(1, painted_elsewhere=False) == [(1, {})]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", os.devnull)
    assert gpus.visible_gpus() == []


def test_runs_that_painters_elsewhere_paint_for_need_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert up.workers_of(8, painted_elsewhere=True) == [(8, {})]
    with pytest.raises(InputError, match="--workers 8: each worker needs a GPU of its own, and there are 0"):
        up.up(free_port(), 8)
    monkeypatch.setenv("STORYBOARD_PAINTERS", "head:6379")
    monkeypatch.setattr(up, "_alone_here", Mock(side_effect=StoryboardError("nothing was started")))
    with pytest.raises(StoryboardError, match="nothing was started"):
        up.up(free_port(), 8)


def test_gpus_are_counted_by_their_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text('#!/bin/sh\necho "GPU 0: NVIDIA H200 (UUID: a)"\necho "GPU 1: NVIDIA H200 (UUID: b)"\n')
    driver.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert gpus.visible_gpus() == ["0", "1"]


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (up.main, ["--port", "0"], "--port: Input should be greater than or equal to 1, got '0'"),
        (
            up.main,
            ["--workers", "two"],
            "--workers: Input should be a valid integer, unable to parse string as an integer, got 'two'",
        ),
        (up.main, ["--painters", "65"], "--painters: Input should be less than or equal to 64, got '65'"),
        (up.main, ["--workers", "2"], "--workers 2: each worker needs a GPU of its own, and there are 0"),
        (up.main, ["--worker", "2"], "unknown option --worker; did you mean --workers?"),
        (bootstrap.main, ["now"], "only options are expected, got 'now'"),
        (bootstrap.main, ["--slots", "0"], "--slots: Input should be greater than or equal to 1, got '0'"),
    ],
)
def test_wrong_options_are_told_in_one_line(
    main: Any, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {message}\n"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "PREFECT_API_URL is not set: start a server with make up, or name yours: "),
        ("http://127.0.0.1:9/api", "no Prefect server answers at http://127.0.0.1:9/api, which "),
    ],
)
def test_without_a_server_it_says_so(url: str | None, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(SystemExit) as ended:
        bootstrap.main([])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith(f"error: {message}")


class Busy(BaseHTTPRequestHandler):
    """A server that has too much to do for the first request."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """500 to the first question, and then an answer."""
        self.asked.append(self.path)
        self.send_response(500 if len(self.asked) == 1 else 200)
        self.end_headers()
        self.wfile.write(b"1")

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def test_a_run_asks_again_when_the_server_answers_500(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_CLIENT_RETRY_JITTER_FACTOR", "0")
    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = {**pool.RUN_ENVIRONMENT, "PREFECT_API_URL": f"http://127.0.0.1:{server.server_port}/api"}
        for name, value in own.items():
            monkeypatch.setenv(name, value)
        ask = "from prefect.client.orchestration import get_client; print(get_client(sync_client=True).hello().text)"
        said = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout
        server.shutdown()
    assert said == "1\n"
    assert Busy.asked == ["/api/hello", "/api/hello"]
