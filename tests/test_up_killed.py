"""A service that is killed: nothing of it is left. It is the one that other files share, so this comes after them."""

from __future__ import annotations

import signal

from service import LONG, STORY, Service
from waiting import until


def test_when_it_is_killed_nothing_is_left(service: Service) -> None:
    run = service.queue("storyboard/steppe", story=STORY, options=LONG)
    until(lambda: service.engines(run))
    assert len(service.processes()) >= 5  # up, its guard, server, worker, run
    assert service.end(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not service.processes())
