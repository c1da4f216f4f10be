"""Asks painters for a run outside their cluster, which is connected by Ray's client (ray://).

Ray's client gets no replies in parts. So an actor inside the cluster asks, and the run fetches from it what has come.
The actor ends with the run's connection.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from queue import Empty, SimpleQueue
from typing import Any

from models.errors import PaintersUnreachable
from models.painters.parcels import pack_error
from models.painters.ray_errors import is_loss

FETCH = 1.0
"""Seconds that one look for news waits for some."""
AT_ONCE = 1000
"""Calls that the actor serves at the same time."""

Reply = tuple[Any, ...]


class Relay:
    """The actor inside the cluster."""

    def __init__(self, app: str) -> None:
        self.app = app
        self.open: dict[str, tuple[Any, SimpleQueue[Reply]]] = {}

    def begin(self, method: str, message: Mapping[str, Any]) -> str:
        """Ask a painter, and return the key under which its replies are fetched."""
        import ray
        from ray import serve

        own = {**message, "job": str(ray.get_runtime_context().get_job_id())}
        replies = getattr(serve.get_app_handle(self.app).options(stream=True), method).remote(own)
        key, news = uuid.uuid4().hex, SimpleQueue[Reply]()
        self.open[key] = replies, news

        def receive() -> None:
            try:
                for reply in replies:
                    news.put(reply)
                news.put(("end",))
            except Exception as error:
                news.put(_as_reply(error))

        threading.Thread(target=receive, daemon=True).start()
        return key

    def news(self, key: str) -> list[Reply]:
        """Return the replies that have come since the last look."""
        news = self.open[key][1]
        try:
            found = [news.get(timeout=FETCH)]
        except Empty:
            return []
        while not news.empty():
            found.append(news.get())
        return found

    def end(self, key: str) -> None:
        """Cancel what is still asked, and forget it."""
        replies, _ = self.open.pop(key)
        replies.cancel()


def _as_reply(error: Exception) -> Reply:
    return ("lost", type(error).__name__) if is_loss(error) else ("error", pack_error(error, {}))


class Relayed:
    """The side of the run: what `Relay` fetches, in the form of Serve's handle."""

    def __init__(self, relay: Any) -> None:
        self.relay = relay

    def __getattr__(self, method: str) -> _Method:
        return _Method(self.relay, method)


class _Method:
    def __init__(self, relay: Any, name: str) -> None:
        self.relay, self.name = relay, name

    def remote(self, message: Mapping[str, Any]) -> _Replies:
        return _Replies(self.relay, _get(self.relay.begin.remote(self.name, message)))


class _Replies:
    def __init__(self, relay: Any, key: str) -> None:
        self.relay, self.key = relay, key

    def __iter__(self) -> Iterator[Reply]:
        while True:
            for reply in _get(self.relay.news.remote(self.key)):
                if reply[0] == "lost":
                    raise PaintersUnreachable(reply[1])
                if reply[0] == "end":
                    self.relay.end.remote(self.key)
                    return
                yield reply

    def cancel(self) -> None:
        self.relay.end.remote(self.key)


def _get(reference: Any) -> Any:
    import ray

    return ray.get(reference)
