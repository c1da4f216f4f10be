"""Train all steppe models from scratch, on drawings only.

    python -m steppe.pretrain                              all missing stages, on one GPU
    python -m steppe.pretrain --device cuda:0 cuda:1       the same on two GPUs
    python -m steppe.pretrain --device cuda cuda           two stages at a time on one GPU
    python -m steppe.pretrain --stage vae --stage base     these stages again
    python -m steppe.pretrain --stage base --further --minutes 18 --rate 9e-4    18 minutes more, from the weights there
    python -m steppe.pretrain --stage base --compile       the base with torch.compile: two minutes for each shape first
    python -m steppe.pretrain --scale 0.001 --device cpu --out outputs/rehearsal --work outputs/rehearsal/work

Each stage is a process. A stopped stage continues from its last checkpoint when it is started again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from steppe.material import TOKENS, Setup
from steppe.shapes import SHAPES
from steppe.stages import STAGES
from steppe.sums import write_sums

SEED = 20
OUT, WORK = Path("weights/steppe"), Path("outputs/pretrain")
FRESH = ("draw", "words")
"""Stages that cannot go on from what is there."""
_POLL = 0.2


def run_stage(name: str, setup: Setup) -> None:
    """Run one stage in this process."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(SEED)
    started = time.monotonic()
    steps = STAGES[name].run(setup)
    if steps is not None:
        setup.note(name, steps)
    print(f"{name} done in {time.monotonic() - started:.0f} s", flush=True)


def run_all(names: list[str], devices: list[str], arguments: list[str]) -> None:
    """Run stages as processes, each as soon as its inputs exist and one of `devices` is free.

    Raises:
        SystemExit: a stage failed; the others are stopped, and can continue later.
    """
    waiting, free, running = list(names), list(devices), dict[str, tuple[str, subprocess.Popen[bytes]]]()
    try:
        while waiting or running:
            for name in [name for name in waiting if not {*waiting, *running} & {*STAGES[name].after}]:
                if free:
                    device = free.pop(0)
                    seen, environment = as_the_only_one(device)
                    command = [sys.executable, "-m", "steppe.pretrain", "--run", name, "--device", seen, *arguments]
                    running[name] = (device, subprocess.Popen(command, env=environment))  # noqa: S603
                    waiting.remove(name)
            for name, (device, process) in list(running.items()):
                if process.poll() is not None:
                    del running[name]
                    free.append(device)
                    if process.returncode:
                        raise SystemExit(f"error: stage {name} failed with exit code {process.returncode}")
            time.sleep(_POLL)
    finally:
        for _, process in running.values():
            process.terminate()
            process.wait()


def as_the_only_one(device: str) -> tuple[str, dict[str, str]]:
    """Return device and environment for a process that sees one GPU, and nothing of the others."""
    kind, _, number = device.partition(":")
    if not number:
        return device, dict(os.environ)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    own = visible.split(",")[int(number)] if visible else number
    return kind, os.environ | {"CUDA_VISIBLE_DEVICES": own}


def main(arguments: list[str] | None = None) -> None:
    """Run the stages that the command line names, or all that are missing."""
    parser = argparse.ArgumentParser(
        prog="python -m steppe.pretrain", description="Train the steppe models from drawings."
    )
    parser.add_argument("--out", type=Path, default=OUT, help="where models go (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=WORK, help="for drawings, 30 GB (default: %(default)s)")
    parser.add_argument(
        "--device", nargs="+", default=["cuda"], help="cuda, cuda:N or cpu; one or several (default: cuda)"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of drawings and steps (default: %(default)s)")
    parser.add_argument("--stage", action="append", choices=list(STAGES), help="run this stage again; may be repeated")
    parser.add_argument(
        "--further",
        action="store_true",
        help="train the stages of --stage from the weights in --out, not from nothing (draw and words cannot)",
    )
    parser.add_argument("--minutes", type=float, help="end each training after so long; its rate falls by the clock")
    parser.add_argument("--rate", type=float, help="peak rate (default: the recipe's)")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the base's UNet: a step of stage base takes half as long, after two minutes for each shape",
    )
    parser.add_argument("--run", choices=list(STAGES), help=argparse.SUPPRESS)  # for a stage's own process
    given = parser.parse_args(arguments)
    if given.scale != 1 and (given.out == OUT or given.work == WORK):
        parser.error(f"a rehearsal must not overwrite {OUT} and {WORK}: give it --out and --work of its own")
    if given.further and not given.run:
        if not given.stage:
            parser.error("--further needs --stage")
        if fresh := [name for name in given.stage if name in FRESH]:
            parser.error(f"--further: {', '.join(fresh)} can only be done from nothing; leave it out for this")
    for name in ("minutes", "rate"):
        if (value := getattr(given, name)) is not None and value <= 0:
            parser.error(f"--{name} {value} must be above 0")
    setup = Setup(
        work=given.work,
        out=given.out,
        device=given.device[0],
        scale=given.scale,
        further=given.further,
        seconds=given.minutes and 60 * given.minutes,
        rate=given.rate,
        compiled=given.compile,
    )
    for folder in (setup.work, setup.out):
        folder.mkdir(parents=True, exist_ok=True)
    if given.run:
        run_stage(given.run, setup)
        return
    names = [name for name in STAGES if name in (given.stage or _missing(setup))]
    passed_on = ["--out", str(given.out), "--work", str(given.work), "--scale", str(given.scale)]
    passed_on += [f"--{name}" for name in ("further", "compile") if getattr(given, name)]
    for name in ("minutes", "rate"):
        passed_on += [f"--{name}", str(value)] if (value := getattr(given, name)) is not None else []
    run_all(names, given.device, passed_on)
    write_sums(setup.out)


def _missing(setup: Setup) -> list[str]:
    """Return the stages that are not done, and the draw stage if any of them needs its drawings."""
    names = [name for name, stage in STAGES.items() if not (setup.out / stage.product).is_file()]
    drawn = all((setup.folder(shape) / TOKENS).is_file() for shape in SHAPES)
    return names if drawn or not names else ["draw", *(name for name in names if name != "draw")]


if __name__ == "__main__":
    main()
