"""The storyboard flow from the sentence to the directory, on a real Prefect server and tiny real models."""

from __future__ import annotations

import flow_runs
import pytest
from flow_runs import STORY, Stage

tiny_world, stage = flow_runs.tiny_world, flow_runs.stage


def test_first(stage: Stage) -> None:
    ran = stage.run()
    print(ran.report.model_dump_json(indent=1))
    print(sorted(p.name for p in ran.board.iterdir()))
    print({n: (r.run_count, r.state_name) for n, r in ran.task_runs().items()})
    print({k: str(a)[:300] for k, a in ran.artifacts().items()})
