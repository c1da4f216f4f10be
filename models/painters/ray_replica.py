"""A warm painter: a replica of Ray Serve with a GPU of its own, or with the CPU.

It is the embedded painter in a process that stays. Requests of all runs wait in the device's own queue, which gathers
those that fit; so neither Serve's batches nor its multiplexed models are used (docs/architecture.md says why).
Only JSON and bytes come in and go out: see `models.painters.parcels`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image

from models.bases.fingerprints import stamp_of
from models.bases.hub import fetch
from models.diffusion.requests import PainterSetup
from models.errors import InputError, RunStopped, StoryboardError, WeightsInvalid
from models.painters.embedded import EmbeddedPainter
from models.painters.painter import FrameOrder, Loaded, Watch
from models.painters.parcels import (
    LoraShelf,
    code_version,
    local_components,
    pack_error,
    relocated,
    unpack_setup,
    unpack_shown,
    unpacked,
)
from models.painters.pulse import Pulse

logger = logging.getLogger("models.painters")

Asked = Mapping[str, Any]
Reply = tuple[Any, ...]

MOST = 200
"""Requests that wait in one painter at most; each has a thread, which sleeps."""
BEAT = 2.0
"""Seconds between two signs of life to a caller that waits."""
TO_SAY = 10.0
"""Seconds that Serve's controller has to say how many painters there are."""
ALIVE: Reply = ("alive",)
UNFINISHED = ("share", "alive")
"""Replies after which others follow."""


class Replica:
    """The class that Ray Serve runs."""

    def __init__(self, keep: int, hangs: float, warm: Any = None) -> None:
        """Load the models of a setup, if one is given.

        Args:
            keep: how many loaded sets of models, one for each LoRA, stay in memory.
            hangs: seconds without a step after which the painter counts as hung.
            warm: a packed setup.
        """
        from models.diffusion.loading import keep_loaded

        self.painter, self.shelf, self.hangs = EmbeddedPainter(), LoraShelf(), hangs
        self.loaded: dict[PainterSetup, Loaded] = {}
        self.lock, self.pulse = threading.Lock(), Pulse()
        self.threads = ThreadPoolExecutor(MOST, thread_name_prefix="request")
        keep_loaded(keep)
        if warm is not None:
            self._load(unpack_setup(warm))

    def check_health(self) -> None:
        """Fail if a painting has made no step for too long; Serve then starts another painter."""
        silent = self.pulse.silence()
        if silent > self.hangs:
            raise RuntimeError(f"no step for {silent:.0f} s")

    async def about(self, asked: Asked) -> AsyncIterator[Reply]:
        """Reply with this painter's machine and process."""
        async for reply in self._serve(
            asked, lambda watch: ("machine", self.painter.machine().model_dump(mode="json"), os.getpid())
        ):
            yield reply

    async def count(self, asked: Asked) -> AsyncIterator[Reply]:
        """Reply with how many painters there are."""
        async for reply in self._serve(asked, lambda watch: ("count", self._running())):
            yield reply

    async def load(self, asked: Asked) -> AsyncIterator[Reply]:
        """Load a setup's models, and reply with what they are."""
        async for reply in self._serve(asked, lambda watch: self._load_asked(asked)):
            yield reply

    async def paint(self, asked: Asked) -> AsyncIterator[Reply]:
        """Paint and score a frame; reply with its steps, and at last with the picture."""
        async for reply in self._serve(asked, lambda watch: self._paint(asked, watch)):
            yield reply

    async def compare(self, asked: Asked) -> AsyncIterator[Reply]:
        """Reply with the CLIP cosine of two pictures."""
        async for reply in self._serve(asked, lambda watch: self._compare(asked)):
            yield reply

    async def recognise(self, asked: Asked) -> AsyncIterator[Reply]:
        """Reply with how alike a hero is to frame 1's and to his calibrated pictures."""
        async for reply in self._serve(asked, lambda watch: self._recognise(asked)):
            yield reply

    async def _serve(self, asked: Asked, work: Callable[[Watch], Reply]) -> AsyncIterator[Reply]:
        """Yield what the work tells from its own thread. If the caller leaves, the work's watch raises RunStopped."""
        loop, left = asyncio.get_running_loop(), threading.Event()
        news: asyncio.Queue[Reply] = asyncio.Queue()

        def tell(reply: Reply) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended with the process
                loop.call_soon_threadsafe(news.put_nowait, reply)

        def go_on() -> None:
            if left.is_set():
                raise RunStopped("nobody waits for this any more")

        def progress(share: float) -> None:
            go_on()
            tell(("share", share))

        self.threads.submit(lambda: tell(_answer(asked, lambda: work(Watch(progress, go_on)))))
        reply, looked = ALIVE, loop.time()
        try:
            while reply[0] in UNFINISHED:
                try:
                    reply = await asyncio.wait_for(news.get(), BEAT)
                except TimeoutError:
                    reply = ALIVE
                if loop.time() - looked > BEAT:
                    looked = loop.time()
                    if await loop.run_in_executor(None, _has_died, asked["job"]):
                        return
                yield reply
        finally:
            left.set()

    def _running(self) -> int | None:
        """Return how many painters of this deployment run; None if Serve's controller does not say."""
        from ray import serve

        here = serve.get_replica_context()
        try:
            status = self.threads.submit(serve.status).result(TO_SAY)
            deployment = status.applications[here.app_name].deployments[here.deployment]
        except Exception:  # it restarts; painting goes on
            return None
        return int(deployment.replica_states.get("RUNNING", 0))

    def _load_asked(self, asked: Asked) -> Reply:
        setup, lacks = self._here(asked)
        if lacks:
            return ("lacks", lacks)
        loaded = self._load(setup).model_dump(mode="json")
        return ("loaded", loaded, {name: stamp_of(fetch(part)) for name, part in local_components(setup).items()})

    def _here(self, asked: Asked) -> tuple[PainterSetup, list[str]]:
        """Return the setup with its LoRAs where they lie here, and the fingerprints of those that are not here."""
        setup, here, lacks = unpack_setup(asked["setup"]), [], []
        for adapter in setup.adapters:
            path = self.shelf.find(adapter)
            if path is None and adapter.fingerprint in asked["loras"]:
                path = self.shelf.put(adapter, asked["loras"][adapter.fingerprint])
            if path is None:
                lacks.append(adapter.fingerprint)
            here.append(adapter.model_copy(update={"path": path or adapter.path}))
        return setup.with_adapters(here), lacks

    def _load(self, setup: PainterSetup) -> Loaded:
        """Return what the models are; load them if they are not loaded, or if their files have changed since."""
        from models.diffusion.loading import unload
        from models.vision.clip import unload_scorer
        from models.vision.likeness import forget_encoder

        key = setup.model_copy(update={"batch_size": 1})
        with self.lock, self.pulse.loading():
            weights, encoder = self.painter.fingerprints(setup)
            if key in self.loaded and (self.loaded[key].weights, self.loaded[key].encoder) != (weights, encoder):
                unload()
                unload_scorer()
                forget_encoder()
                self.loaded.clear()
            if key not in self.loaded:
                self.loaded[key] = self.painter.load(setup)
            return self.loaded[key]

    def _paint(self, asked: Asked, watch: Watch) -> Reply:
        setup, lacks = self._here(asked)
        if lacks:
            return ("lacks", lacks)
        with unpacked(asked["files"], asked["sums"]) as places:
            try:
                own = {"setup": _in_larger_batches(setup), "lingers": setup.batch_size > 1}
                order = FrameOrder.model_validate({**asked["order"], **own})
                _refuse_other_weights(self._load(setup), order)
                with self.pulse.watching(watch) as watched:
                    picture = self.painter.paint(relocated(order, places), watched)
            except StoryboardError as error:
                return ("error", pack_error(error, places))
        image, scores = picture.image, picture.scores.model_dump(mode="json")
        return ("picture", image.size, image.tobytes(), scores, tuple(picture.took))

    def _compare(self, asked: Asked) -> Reply:
        one, other = (Image.frombytes("RGB", size, data) for size, data in asked["images"])
        return ("cosine", self.painter.similarity(unpack_setup(asked["setup"]), one, other))

    def _recognise(self, asked: Asked) -> Reply:
        shown, *reference = map(unpack_shown, asked["shown"])
        with unpacked(asked["files"], asked["sums"]) as places:
            calibration = None if asked["calibration"] is None else places[asked["calibration"]]
            setup, other = unpack_setup(asked["setup"]), reference[0] if reference else None
            try:
                found = self.painter.likeness(setup, calibration, shown, other)
            except StoryboardError as error:
                return ("error", pack_error(error, places))
        return ("likeness", None if found is None else found.model_dump(mode="json"))


def _has_died(job: str) -> bool:
    """Whether the process that asked has died; Ray does not cancel the requests of one that was killed."""
    from ray._private.worker import global_worker

    try:
        jobs = global_worker.gcs_client.get_all_job_info(job_or_submission_id=job, timeout=BEAT)
    except Exception:  # the head is gone; painting goes on
        return False
    return bool(job) and any(found.is_dead for found in jobs.values())


def _answer(asked: Asked, work: Callable[[], Reply]) -> Reply:
    try:
        if asked["code"] != code_version():
            raise InputError(
                f"the painters run another version of the code ({code_version()[:8]}) than this run "
                f"({asked['code'][:8]}): give both the same, then python -m deployments.painters"
            )
        return work()
    except Exception as error:
        if not isinstance(error, StoryboardError):
            logger.exception("a request failed")
        return ("error", pack_error(error, {}))


def _refuse_other_weights(here: Loaded, order: FrameOrder) -> None:
    unlike = [] if order.weights in (None, here.weights) else [order.weights.unlike(here.weights)]
    if order.encoder not in (None, here.encoder):
        unlike.append("what compares heroes")
    if unlike:
        raise WeightsInvalid(
            f"the painter has other weights than the run's report says: {', '.join(unlike)}; "
            "give all painters the same files, or run it again"
        )


def _in_larger_batches(setup: PainterSetup) -> PainterSetup:
    """Return the setup with the device's own batch size, so that single frames of several boards share a batch."""
    if setup.device == "cpu" or setup.low_memory:
        return setup
    return setup.model_copy(update={"batch_size": max(setup.batch_size, setup.profile.batch_size_on_gpu)})
