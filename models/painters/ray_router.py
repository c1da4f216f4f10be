"""Which painter gets a run's next request. Ray Serve makes a router in each process that asks, which is one run's.

Serve's own router gives each request to the shorter of two queues. Under load, a board's frames are then painted by
several painters, each in a smaller batch, and a batch costs 0.7 s besides its pictures.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

Place = TypeVar("Place", bound=Hashable)
KNOWN = 4
"""Painters that a run asks at most, drawn by lot: each costs it a connection, and the least busy of four is seldom far
from the least busy of all."""
TO_SAY = 1.0
"""Seconds that a painter has to say how many requests it has."""


def place_for_next(queues: Mapping[Place, int], own: Mapping[Place, int]) -> Place | None:
    """Return where a run's next request goes: to its others, or to a painter that has nothing to do for other runs.

    Args:
        queues: how many requests painters had a moment ago.
        own: how many of this run's requests painters have, of which some may still be on their way.

    Returns:
        The one with the fewest requests; None if no painter is known.
    """

    def requests(place: Place) -> int:
        return max(queues[place], own.get(place, 0))

    together = [place for place in queues if own.get(place, 0) or not queues[place]]
    return min(together or queues, key=requests, default=None)


class Together(RequestRouter):  # type: ignore[misc]  # Ray has no types
    """Keeps a run's requests together, unless a painter is free."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.asked: dict[str, ReplicaID] = {}
        """Where each request is that has not been answered."""
        self.known: set[ReplicaID] = set()
        """Painters that are asked."""

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Go on with the painters that this run knows, and with others instead of those that are gone."""
        still = [painter for painter in replicas if painter.replica_id in self.known]
        others = [painter for painter in replicas if painter.replica_id not in self.known]
        known = [*still, *random.sample(others, min(KNOWN - len(still), len(others)))]
        self.known = {painter.replica_id for painter in known}
        super().update_replicas(known)

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Return one painter, or all if none answers, of which Serve then chooses."""
        if pending_request is None:
            return [candidate_replicas]
        pending_request.routing_context.should_backoff = True
        lengths = await asyncio.gather(*map(_length, candidate_replicas))
        pairs = zip(candidate_replicas, lengths, strict=True)
        queues = {painter.replica_id: length for painter, length in pairs if length is not None}
        place = place_for_next(queues, Counter(self.asked.values()))
        if place is None:
            return [candidate_replicas]
        self.asked[pending_request.metadata.internal_request_id] = place  # no other request is given a place meanwhile
        return [[painter for painter in candidate_replicas if painter.replica_id == place]]

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        """Forget a request that was answered, or has failed."""
        self.asked.pop(internal_request_id, None)


async def _length(painter: RunningReplica) -> int | None:
    try:
        return int(await asyncio.wait_for(painter.get_queue_len(deadline_s=TO_SAY), TO_SAY))
    except Exception:  # it is gone or hangs; Serve finds that out itself
        return None
