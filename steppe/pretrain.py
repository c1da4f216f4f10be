"""Train the steppe base from nothing but its own drawings.

python -m steppe.pretrain --out weights/steppe              everything, in order, on one GPU
python -m steppe.pretrain --stage vae --stage base          some stages of it
python -m steppe.pretrain --scale 0.001 --device cpu        a rehearsal
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from steppe.stages import STAGES, Setup

SEED = 20


def main(arguments: list[str] | None = None) -> None:
    """Run the stages that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m steppe.pretrain", description="Train the steppe base from drawings."
    )
    parser.add_argument(
        "--out", type=Path, default=Path("weights/steppe"), help="where the models go (default: %(default)s)"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("outputs/pretrain"),
        help="where the drawings go, 42 GB (default: %(default)s)",
    )
    parser.add_argument("--stage", action="append", choices=list(STAGES), help="only this stage; may be given again")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of drawings and steps (default: %(default)s)")
    given = parser.parse_args(arguments)
    setup = Setup(work=given.work, out=given.out, device=given.device, scale=given.scale)
    setup.out.mkdir(parents=True, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    for name in given.stage or STAGES:
        started = time.monotonic()
        torch.manual_seed(SEED)
        STAGES[name](setup)
        print(f"{name} done in {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
