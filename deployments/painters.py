"""Start warm painters on a Ray cluster, or bring those that run to this number, version and settings.

python -m deployments.painters --address HEAD:6379 --replicas 4
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from flows.commands.command import Command
from flows.terminal import FAILURE, say, stop
from models.diffusion.requests import PainterSetup
from models.errors import InputError, PaintersUnreachable, StoryboardError
from models.forms.form import Form, Group
from models.option_types import ProfileName
from models.painters.parcels import code_version, pack_setup
from models.painters.ray_cluster import APP, connect, import_ray
from models.painters.ray_replica import MOST, Replica
from models.preflight.devices import batch_size_on, precision_on
from models.profiles import get_profile
from models.records import Adapter
from models.storage.adapters import local_path
from models.storage.files import fingerprint

HEALTH_PERIOD, HEALTH_TIMEOUT = 5.0, 30.0
"""Seconds between two health checks of a painter, and until one counts as failed; after three it is replaced."""
DEPLOYMENT = "painter"
ROUTER = "models.painters.ray_router.Together"
TO_END = 20.0
"""Seconds that a painter which is replaced has to finish its frames."""


class Painters(BaseModel):
    """The command's options."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    address: str = Field("auto", min_length=1, max_length=200)
    """Ray cluster: HOST:6379 of its head, ray://HOST:10001, or auto for the one that runs on this machine."""
    replicas: int = Field(1, ge=0, le=1000)
    """How many painters: one for each GPU. 0 ends them."""
    profile: ProfileName = "steppe"
    """Profile whose models they load at once; others are loaded when they are asked for."""
    gpus: int | None = Field(None, ge=0, le=1)
    """GPUs of each painter: 1, or 0 to paint on the CPU. Unset: 1 if the cluster has GPUs."""
    cpus: int | None = Field(None, ge=1, le=1024)
    """CPU cores of each painter. Unset: 1 beside a GPU, else its share of the cluster's cores."""
    loras: int = Field(4, ge=1, le=100)
    """How many sets of models with different LoRAs each keeps in memory, as far as there is room."""
    hangs: float = Field(300.0, gt=0)
    """Seconds without a step of a painting after which a painter counts as hung, and is replaced."""


COMMAND = Command(
    module="deployments.painters",
    usage="[--address ADDRESS] [--replicas N]",
    description=__doc__.partition("\n")[0],
    forms=(Form(Painters, (Group("options", ("address", "replicas", "profile", "gpus", "cpus", "loras", "hangs")),)),),
)


class _Share(NamedTuple):
    gpus: int
    cpus: int


def deploy(wanted: Painters, *, health_period: float = HEALTH_PERIOD, health_timeout: float = HEALTH_TIMEOUT) -> str:
    """Bring the cluster's painters to what is wanted, wait until they are ready, and return what there is.

    Painters that are as wanted are left alone, with what they are painting.

    Raises:
        InputError: the cluster does not have so many GPUs or cores, or Ray is not installed.
        PaintersUnreachable: no cluster answers, or the painters did not start.
    """
    connect(wanted.address)
    serve = import_ray().serve
    if not wanted.replicas:
        serve.delete(APP)
        return "no painters any more"
    share = _share(wanted)
    settings = _settings(wanted, share)
    version = hashlib.sha256(json.dumps([code_version(), settings, share]).encode()).hexdigest()[:16]
    serve.start(proxy_location="Disabled")
    deployment = as_deployment(
        Replica,
        num_replicas=wanted.replicas,
        ray_actor_options=_resources(share),
        health_check_period_s=health_period,
        health_check_timeout_s=health_timeout,
        graceful_shutdown_timeout_s=TO_END,
    )
    # Serve would give every deployment a version of its own, and replace painters that are as wanted.
    deployment._version = version
    try:
        serve.run(deployment.bind(**settings), name=APP, route_prefix=None)
    except Exception as error:
        raise PaintersUnreachable(f"the painters did not start: {_last_line(error)}") from error
    return f"{wanted.replicas} painter(s) are ready, {'with a GPU each' if share.gpus else 'on the CPU'}"


def as_deployment(replica: type, **ways: Any) -> Any:
    """Return a class of painters as a deployment of Serve.

    Args:
        replica: the class.
        ways: `serve.deployment`'s arguments.
    """
    routed = {"max_ongoing_requests": MOST, "request_router_config": {"request_router_class": ROUTER}}
    return import_ray().serve.deployment(replica, name=DEPLOYMENT, **routed, **ways)


def application(settings: dict[str, Any]) -> Any:
    """Return Serve's application for a configuration file, which says the replicas and their GPUs: rayservice.yaml.

    Args:
        settings: profile, loras, hangs and gpus of `Painters`.
    """
    wanted = Painters.model_validate(settings)
    return as_deployment(Replica).bind(**_settings(wanted, _Share(wanted.gpus or 0, 1)))


def _settings(wanted: Painters, share: _Share) -> dict[str, Any]:
    warm = pack_setup(_setup_of(wanted.profile, "cuda" if share.gpus else "cpu"))
    return {"keep": wanted.loras, "hangs": wanted.hangs, "warm": warm}


def _setup_of(name: str, device: str) -> PainterSetup:
    profile = get_profile(name)
    own = profile.adapter
    path = None if own is None else local_path(own)
    adapter = None
    if path is not None and path.exists():
        adapter = Adapter(path=str(path), fingerprint=fingerprint(path), source=str(own))
    return PainterSetup(
        profile=profile,
        adapter=adapter,
        device=device,
        precision=precision_on(device, profile),
        with_controlnet=True,
        batch_size=batch_size_on(device, profile),
    )


def _share(wanted: Painters) -> _Share:
    """Return each painter's GPUs and cores.

    Raises:
        InputError: the cluster has too few.
    """
    there = import_ray().cluster_resources()
    have = _Share(int(there.get("GPU", 0)), int(there.get("CPU", 0)))
    gpus = wanted.gpus if wanted.gpus is not None else min(1, have.gpus)
    cpus = wanted.cpus or (1 if gpus else max(1, have.cpus // wanted.replicas))
    for kind, each, all_of_them in (("GPU", gpus, have.gpus), ("CPU", cpus, have.cpus)):
        if each * wanted.replicas > all_of_them:
            needed = each * wanted.replicas
            raise InputError(f"--replicas {wanted.replicas}: they need {needed} {kind}s, the cluster has {all_of_them}")
    return _Share(gpus, cpus)


def _resources(share: _Share) -> dict[str, Any]:
    threads = os.environ.get("OMP_NUM_THREADS", str(share.cpus))
    own = {"OMP_NUM_THREADS": threads} if not share.gpus else {}
    return {"num_gpus": share.gpus, "num_cpus": share.cpus, "runtime_env": {"env_vars": own}}


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


def main(arguments: list[str] | None = None) -> None:
    """Deploy; exit with 1 and one line after an error, 2 after a wrong option."""
    wanted = COMMAND.parse(arguments, Painters.model_validate)
    try:
        say(deploy(wanted))
    except InputError as error:
        stop(str(error))
    except StoryboardError as error:
        stop(str(error), FAILURE)


if __name__ == "__main__":
    main()
