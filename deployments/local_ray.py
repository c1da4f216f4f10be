"""A Ray cluster on this machine alone, with warm painters; for `make up` and for tests.

python -m deployments.local_ray --painters 1 --address-file FILE

It ends with this process. All ports are on loopback, but for one of each painter's, which Serve opens on all addresses;
every port wants Ray's token. There is no dashboard, and nothing is sent to Ray's makers.
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from deployments.gpus import visible_gpus
from deployments.painters import Painters, deploy
from flows.commands.command import Command
from flows.terminal import FAILURE, say, stop
from models.errors import InputError, StoryboardError
from models.forms.form import Form, Group
from models.option_types import ProfileName
from models.painters.ray_cluster import NAMESPACE, import_ray
from models.storage.files import write_atomically

STORE = 256 * 2**20
"""Bytes of Ray's object store, through which pictures pass."""


class Local(BaseModel):
    """The command's options."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    painters: int = Field(1, ge=1, le=64)
    """How many painters, each with a GPU; without GPUs they share the CPU."""
    profile: ProfileName = "steppe"
    """Profile whose models they load at once."""
    address_file: str = Field("outputs/service/painters.address", min_length=1)
    """File to which the cluster's address is written once the painters are ready."""


COMMAND = Command(
    module="deployments.local_ray",
    usage="[--painters N] [--address-file FILE]",
    description=__doc__.partition("\n")[0],
    forms=(Form(Local, (Group("options", ("painters", "profile", "address_file")),)),),
)


def start(wanted: Local) -> str:
    """Start Ray and the painters, and return the cluster's address.

    Raises:
        InputError: there are fewer GPUs than painters, or Ray is not installed.
        PaintersUnreachable: the painters did not start.
    """
    gpus = len(visible_gpus())
    if gpus and wanted.painters > gpus:
        raise InputError(f"--painters {wanted.painters}: each needs a GPU of its own, and there are {gpus}")
    ray = import_ray("127.0.0.1:0")
    ray.init(
        num_gpus=gpus,
        namespace=NAMESPACE,
        include_dashboard=False,
        object_store_memory=STORE,
        log_to_driver=False,
        configure_logging=False,
    )
    address = str(ray.get_runtime_context().gcs_address)
    say(deploy(Painters(address=address, replicas=wanted.painters, profile=wanted.profile)))
    return address


def main(arguments: list[str] | None = None) -> None:
    """Start, write the address, and wait for a signal."""
    wanted = COMMAND.parse(arguments, Local.model_validate)
    try:
        address = start(wanted)
    except InputError as error:
        stop(str(error))
    except StoryboardError as error:
        stop(str(error), FAILURE)
    write_atomically(Path(wanted.address_file), address.encode())
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    import_ray().shutdown()


if __name__ == "__main__":
    main()
