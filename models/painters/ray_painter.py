"""The asking side of painters elsewhere. It imports neither torch nor diffusers.

An order that a painter was working on when it died is given to another one. Finished frames are in the store of the
asking side, so nothing is painted twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from PIL import Image

from models.bases.fingerprints import component_fingerprint, stamp_of
from models.diffusion.machine import Machine
from models.diffusion.requests import PainterSetup
from models.errors import PaintersUnreachable, StoryboardError, WeightsInvalid
from models.painters.painter import UNWATCHED, FrameOrder, Loaded, ScoredPicture, Shown, Turnaround, Watch
from models.painters.parcels import (
    code_version,
    files_of,
    local_components,
    lora_files,
    pack_setup,
    pack_shown,
    read_files,
    unpack_error,
    with_sums,
)
from models.painters.ray_cluster import drop_dead_connection, job_here, painters_at
from models.painters.ray_errors import first_line, is_loss
from models.painters.ray_replica import UNFINISHED, Reply
from models.scores import Likeness, Scores

logger = logging.getLogger("models.painters")

PATIENCE = 120.0
"""Seconds for which a run waits for painters that are gone."""
LOOK_EVERY = 0.5
"""Seconds between two looks whether a waiting caller is to go on."""
SILENCE = 20.0
"""Seconds without a sign of life after which a painter counts as lost; one that waits or paints sends one every 2 s."""
PAUSE = 2.0
"""Seconds between two tries to find a painter."""


class RayPainter:
    """Paints in the warm painters of a Ray cluster."""

    def __init__(self, address: str, patience: float = PATIENCE) -> None:
        self.address, self.patience = address, patience

    def machine(self) -> Machine:
        """Return the machine of one painter; all are taken to be alike."""
        return Machine.model_validate(self._ask("about", {})[1])

    def count(self) -> int | None:
        """Return how many painters run there."""
        count: int | None = self._ask("count", {})[1]
        return count

    def load(self, setup: PainterSetup) -> Loaded:
        """Have the models loaded by one painter; the others load them with their first frame.

        Raises:
            WeightsInvalid: a folder that the setup names holds other files here than there.
        """
        _, told, stamps = self._ask("load", {}, setup)
        loaded = Loaded.model_validate(told)
        _refuse_other_files(setup, loaded, stamps)
        return loaded

    def paint(self, order: FrameOrder, watch: Watch) -> ScoredPicture:
        """Have a frame painted and scored."""
        packed = order.model_dump(mode="json", exclude={"setup", "lingers"})
        asked = {"order": packed, **with_sums(files_of(order))}
        _, size, data, scores, took = self._ask("paint", asked, order.setup, watch)
        return ScoredPicture(Image.frombytes("RGB", size, data), Scores.model_validate(scores), Turnaround(*took))

    def similarity(self, setup: PainterSetup, one: Image.Image, other: Image.Image) -> float:
        """Have two pictures compared."""
        images = [(image.size, image.tobytes()) for image in (one.convert("RGB"), other.convert("RGB"))]
        return float(self._ask("compare", {"images": images}, setup)[1])

    def likeness(
        self, setup: PainterSetup, calibration: str | None, shown: Shown, reference: Shown | None
    ) -> Likeness | None:
        """Have a hero compared with frame 1's and with his calibrated pictures."""
        asked = {
            "calibration": calibration,
            "shown": [pack_shown(each) for each in (shown, reference) if each is not None],
            **with_sums(read_files(calibration)),
        }
        found = self._ask("recognise", asked, setup)[1]
        return None if found is None else Likeness.model_validate(found)

    def _ask(
        self, method: str, asked: Mapping[str, Any], setup: PainterSetup | None = None, watch: Watch = UNWATCHED
    ) -> Reply:
        """Return a painter's last reply; of another painter, if one is lost meanwhile.

        Raises:
            PaintersUnreachable: there was none for too long.
            StoryboardError: what the painter replied.
        """
        message: dict[str, Any] = {"code": code_version(), "loras": {}, **asked}
        if setup is not None:
            message["setup"] = pack_setup(setup)
        lost_since: float | None = None
        while True:
            try:
                reply = self._ask_once(method, message, watch)
            except Exception as error:
                if isinstance(error, StoryboardError) and not isinstance(error, PaintersUnreachable):
                    raise
                if not is_loss(error):
                    raise
                lost_since = self._wait(error, lost_since, watch)
                continue
            if reply[0] == "lacks" and setup is not None:
                message["loras"] = {each.fingerprint: lora_files(each) for each in setup.adapters}
            elif reply[0] == "error":
                raise unpack_error(reply[1])
            else:
                return reply

    def _wait(self, error: Exception, since: float | None, watch: Watch) -> float:
        """Wait before the next try, and return since when painters have been lost."""
        if since is None:
            logger.warning("a painter at %s is lost (%s); waiting for another", self.address, type(error).__name__)
            since = time.monotonic()
        if time.monotonic() - since > self.patience:
            raise PaintersUnreachable(
                f"no painter at {self.address} for {self.patience:.0f} s: {first_line(error)[:200]}; see that Ray and "
                "the painters run (docs/operations.md), then run it again: finished frames are kept"
            ) from None
        drop_dead_connection()
        for _ in range(round(PAUSE / LOOK_EVERY)):
            time.sleep(LOOK_EVERY)
            if watch.go_on is not None:
                watch.go_on()
        return since

    def _ask_once(self, method: str, message: Mapping[str, Any], watch: Watch) -> Reply:
        painters = painters_at(self.address)
        replies = getattr(painters, method).remote({**message, "job": job_here()})
        news: SimpleQueue[Reply | BaseException] = SimpleQueue()

        def receive() -> None:
            try:
                for reply in replies:
                    news.put(reply)
            except BaseException as error:
                news.put(error)

        # In a thread, because no reply comes from a painter that hangs, and the run may be cancelled meanwhile.
        threading.Thread(target=receive, name="replies", daemon=True).start()
        last: Reply = ("alive",)
        try:
            last = _last_of(news, watch)
        finally:
            if last[0] in UNFINISHED:
                replies.cancel()
        return last


def _last_of(news: SimpleQueue[Reply | BaseException], watch: Watch) -> Reply:
    """Return the last reply, and call the watch meanwhile, in this thread.

    Raises:
        PaintersUnreachable: no sign of life came for too long.
    """
    heard = time.monotonic()
    while True:
        try:
            told = news.get(timeout=LOOK_EVERY)
            heard = time.monotonic()
        except Empty:
            told = ("alive",)
        if isinstance(told, BaseException):
            raise told
        if told[0] not in UNFINISHED:
            return told
        if told[0] == "share" and watch.on_progress is not None:
            watch.on_progress(told[1])
        elif watch.go_on is not None:
            watch.go_on()
        if time.monotonic() - heard > SILENCE:
            raise PaintersUnreachable(f"no answer for {SILENCE:.0f} s")


def _refuse_other_files(setup: PainterSetup, there: Loaded, stamps: Mapping[str, str]) -> None:
    """Compare the setup's folders that are on this machine too with what the painter has loaded.

    Args:
        stamps: of the painter's files. Only files with another stamp are read here, because that takes seconds.
    """
    weights = there.weights
    fingerprints = {"base": weights.base, "controlnet": weights.controlnet, "clip": weights.clip, "dino": there.encoder}
    for name, component in local_components(setup).items():
        place = Path(component.source)
        if not place.exists() or stamp_of(place) == stamps[name]:
            continue
        if component_fingerprint(component, place) != fingerprints[name]:
            raise WeightsInvalid(
                f"{place}: the painters' {name} holds other files than this machine's; give both the same"
            )
