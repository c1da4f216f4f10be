"""What all tests share: nothing reaches the internet, and no test sees a GPU or anybody's settings by accident."""

from __future__ import annotations

import os


def _stay_offline_and_alone() -> None:
    """Before anything is imported that reads these."""
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "TOKENIZERS_PARALLELISM": "false",
    }
    for name in [name for name in os.environ if name.startswith(("STORYBOARD_", "OPENAI_", "AWS_"))]:
        del os.environ[name]


_stay_offline_and_alone()


def pytest_configure(config: object) -> None:
    """Hide GPUs, unless the GPU tests were asked for: the others say what happens without one."""
    if getattr(config, "option").markexpr != "gpu":  # noqa: B009
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
