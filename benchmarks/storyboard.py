"""A storyboard by this project and by stock diffusers pipelines, in one run on one device.

    python -m benchmarks.storyboard --device cpu --repeats 3           # the offline profile, on its own weights
    python -m benchmarks.full_size /tmp/full-size
    python -m benchmarks.storyboard --models /tmp/full-size --out figures.jsonl --profile kernels.txt
    python -m benchmarks.storyboard --models /tmp/full-size --only ours --size 1344x768

Six frames with guidance, LoRA, a ControlNet on frames 2 to 6, CLIP scores and PNGs on disk; models loaded and warm.
Both begin with the same noise, so that the pictures can be compared. Figures of fewer steps are marked, and not scaled.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import work
from benchmarks.difference import compare
from benchmarks.figures import (
    Figures,
    Kernels,
    card_of,
    ceiling,
    choose,
    parser_for,
    peak,
    seconds_of,
    start_of_peak,
    sustained_ceiling,
)
from benchmarks.full_size import known, lora_of
from benchmarks.stock_storyboard import StockStoryboard, Told
from models.board.directory import frame_name, place_frame
from models.diffusion.compute import compute
from models.diffusion.loading import load, unload
from models.diffusion.painter import paint
from models.diffusion.requests import ControlPicture, PaintRequest
from models.diffusion.weights import torch_dtype
from models.frames.generate import FrameJob, generate, near_copies, seed_of
from models.frames.render_config import RenderConfig
from models.lora.publishing.export import write_diffusers_file
from models.preflight.resolution import resolve
from models.profiles import STEPPE, Profile
from models.records import Adapter, FramePrompt, FrameResult, Scene, Weights
from models.s3.adapters import fetch_adapter
from models.secrets.keys import Keys
from models.settings import StoryboardOptions
from models.sizes import Size
from models.storage.adapters import SINGLE_FILE
from models.vision.clip import load_scorer, unload_scorer
from models.vision.likeness import encoder_fingerprint

SEED = 42
WARM_UP, PROFILED = 2, 4
"""Steps."""
RANDOM = Weights(base="random", controlnet="random", clip="random", adapter="random")
ACTIONS = (
    "is riding on a horse, in the steppe, on a sunny day",
    "is talking to a fat merchant, in the bazaar, at sunset",
    "is sitting in a yurt with a bowl of soup, at night",
    "is running away with a sack, in the mountains, at dawn",
    "is laughing with a shepherd and a dog, by the river",
    "is walking home with a camel, in the steppe, under the moon",
)


class Ours:
    """This project's code from the prompts to the pictures on disk, without Prefect's tasks."""

    def __init__(self, profile: Profile, adapter: Adapter, device: str, given: argparse.Namespace) -> None:
        self.profile, self.size = profile, given.size or Size.square(profile.native_size)
        named = {name: getattr(given, name) for name in ("precision", "batch_size", "speed", "steps")}
        if given.speed == "turbo":  # the character's LoRA stands in for the distillation's: its values cost no time
            named |= {"turbo_lora": adapter.path, "turbo_method": "lightning", "steps": given.steps or 8}
        self.options = StoryboardOptions(
            profile=profile.name,
            seed=SEED,
            attempts=1,  # pictures of random weights pass no gate
            threshold=-1.0,
            prompt_threshold=-1.0,
            device=device,
            low_memory=given.low_memory or None,
            width=self.size.width,
            height=self.size.height,
            **named,
        )
        self.adapter = adapter
        self.settings = resolve(self.options, profile, "benchmark")
        self.steps = int(self.options.steps or profile.steps)
        self.setup = self.settings.setup.with_adapters([adapter] * (2 if given.speed == "turbo" else 1))

    def told(self, steps: int | None = None) -> Told:
        """Return the inputs for the stock storyboard."""
        profile, numbers = self.profile, range(1, len(ACTIONS) + 1)
        return Told(
            prompts=[self._prompt(number).prompt for number in numbers],
            negative_prompt=profile.negative_prompt,
            seeds=[seed_of(SEED, number, 0) for number in numbers],
            steps=steps or self.steps,
            size=self.size,
        )

    def load(self) -> None:
        """Load all models."""
        load(self.setup)
        load_scorer(self.setup.profile, self.setup.scoring_device)

    def tell(self, folder: Path, steps: int | None = None) -> tuple[list[FrameResult], dict[str, float]]:
        """Paint all frames as the flow does: frame 1, then the others at once, each in its own thread.

        Returns:
            The frames, and the seconds of both stages.
        """
        config = self._render_config(folder / "store", steps or self.steps)
        board = folder / "board"
        board.mkdir(parents=True)

        def frame(number: int, reference: FrameResult | None) -> FrameResult:
            earlier = () if reference is None else (reference.file,)
            own = config.for_one() if reference is None else config
            job = FrameJob(render_config=own, prompt=self._prompt(number), reference=reference, earlier=earlier)
            result = generate(job)
            place_frame(board, result)
            return result

        began = time.perf_counter()
        first = frame(1, None)
        middle = time.perf_counter()
        with ThreadPoolExecutor(len(ACTIONS)) as threads:
            others = list(threads.map(lambda number: frame(number, first), range(2, len(ACTIONS) + 1)))
        near_copies([first, *others])
        return [first, *others], {"frame_1_s": middle - began, "frames_2_on_s": time.perf_counter() - middle}

    def profile_steps(self, figures: Figures, file: Path, reference: str) -> None:
        """Profile a few steps of frame 1, and of the others as one batch."""
        models, profile = load(self.setup), self.profile
        control = ControlPicture(file=reference, scale=profile.control_scale, end=1.0, kind="reference")
        batch = min(len(ACTIONS) - 1, self.setup.batch_size)
        for what, count, guide in (("frame 1", 1, None), ("others", batch, control)):
            requests = [self._request(number + 1, guide) for number in range(count)]
            kernels = Kernels(file.with_stem(f"{file.stem}-{what.replace(' ', '-')}"), self.setup.device)
            kernels.start()
            paint(models, requests)
            figures.note(f"profile of {what}", steps=PROFILED, pictures=count, **kernels.stop())

    def _request(self, number: int, control: ControlPicture | None) -> PaintRequest:
        told = self.told(PROFILED)
        return PaintRequest(
            prompt=told.prompts[number - 1],
            negative_prompt=told.negative_prompt,
            seed=told.seeds[number - 1],
            size=told.size,
            steps=told.steps,
            guidance=self.settings.guidance,
            control=control,
        )

    def _prompt(self, number: int) -> FramePrompt:
        profile, action = self.profile, ACTIONS[number - 1]
        scene = Scene(number=number, caption=action, action=action, place="steppe", time="at dawn", shot="middle shot")
        prompt = f"{profile.trigger} {action}, {profile.style}"
        return FramePrompt(scene=scene, prompt=prompt, negative_prompt=profile.negative_prompt, tokens=77)

    def _render_config(self, store: Path, steps: int) -> RenderConfig:
        settings = resolve(self.options.model_copy(update={"steps": steps}), self.profile, "benchmark")
        own = {**dict(settings), "setup": self.setup, "store": str(store)}
        return RenderConfig(**own, weights=RANDOM, encoder=encoder_fingerprint(self.profile))


def measure_ours(ours: Ours, figures: Figures, folder: Path, given: argparse.Namespace) -> float:
    """Return the median seconds of a storyboard; the pictures stay in the folder."""
    device = ours.setup.device
    start_of_peak(device)
    loading = seconds_of(device, ours.load)
    warming = seconds_of(device, lambda: ours.tell(folder / "warm", WARM_UP))
    start_of_peak(device)
    figures.note("ours, loaded", load_s=loading, warm_up_s=warming, precision=ours.setup.precision)
    totals: list[float] = []
    for run in range(given.repeats):
        stages: dict[str, float] = {}
        place = folder / f"run{run}"

        def tell(place: Path = place, stages: dict[str, float] = stages) -> None:
            results, seconds = ours.tell(place)
            stages |= seconds
            broken = [result.number for result in results if "not finite" in str(result.scores.anomalies)]
            figures.note("ours, scores", prompt=[result.scores.prompt for result in results], not_finite=broken)

        totals.append(seconds_of(device, tell))
        figures.note("ours", seconds=totals[-1], steps=ours.steps, **stages, **peak(device))
        (place / "board").rename(folder / f"board{run}")
    if given.profile is not None:
        with figures.part("profile"):
            ours.profile_steps(figures, given.profile, str(folder / f"board{given.repeats - 1}" / frame_name(1)))
    unload()
    unload_scorer()
    return statistics.median(totals)


def measure_stock(ours: Ours, figures: Figures, folder: Path, given: argparse.Namespace) -> float:
    """Return the median seconds of a stock storyboard; the last one's pictures stay in the folder."""
    device, dtype = ours.setup.device, torch_dtype(ours.setup.precision)
    lora = folder / SINGLE_FILE
    folder.mkdir()
    write_diffusers_file(Path(ours.adapter.path), lora)
    began = time.perf_counter()
    stock = StockStoryboard(ours.profile, lora, device, dtype)
    loading = time.perf_counter() - began
    warming = seconds_of(device, lambda: stock.tell(ours.told(WARM_UP), folder / "warm"))
    figures.note("stock, loaded", load_s=loading, warm_up_s=warming, precision=ours.setup.precision)
    start_of_peak(device)
    totals = []
    for _ in range(given.repeats):
        totals.append(seconds_of(device, lambda: stock.tell(ours.told(), folder / "board")))
        figures.note("stock", seconds=totals[-1], steps=ours.steps, **peak(device))
    return statistics.median(totals)


def conclude(figures: Figures, ours: Ours, seconds: dict[str, float]) -> None:
    """Note the ratio, and the shares of the device's maximum."""
    device, profile = ours.setup.device, ours.profile
    peak_rate, sustained = ceiling(device), sustained_ceiling(device)
    needed = work.count(profile, ours.size)
    totals = {
        "ours": needed.storyboard(profile, len(ACTIONS), ours.settings.steps, guidance=ours.settings.guidance > 1.0),
        "stock": needed.storyboard(profile, len(ACTIONS), ours.steps),
    }
    scaled = {} if ours.steps == profile.steps else {"note": f"{ours.steps} of {profile.steps} steps, not scaled"}
    figures.note("work in TFLOP", **vars(needed), **{f"storyboard_{who}": totals[who] for who in seconds})
    figures.note("ceiling", bf16_tflops=peak_rate, sustained_bf16_tflops=sustained)
    shares = {f"{who}_share_of_sustained": totals[who] / sustained / value for who, value in seconds.items()}
    ratio = {"times_stock": seconds["stock"] / seconds["ours"]} if len(seconds) == 2 else {}
    figures.note("storyboard", **{f"{who}_s": value for who, value in seconds.items()}, **ratio, **shares, **scaled)


def own_adapter(profile: Profile) -> Adapter:
    """Return the LoRA that the profile ships."""
    return fetch_adapter(str(profile.adapter), cache_dir=Path("outputs"), keys=Keys())


def size(written: str) -> Size:
    """Return the size that --size names: 1344x768."""
    width, height = map(int, written.split("x"))
    return Size(width, height)


def arguments() -> argparse.Namespace:
    """Return the command line's options."""
    parser = parser_for("storyboard", __doc__)
    parser.add_argument(
        "--models", type=Path, help="folder of benchmarks.full_size (default: the offline profile's weights)"
    )
    parser.add_argument("--precision", choices=("fp32", "fp16", "bf16"), help="of both (default: the profile's)")
    parser.add_argument(
        "--speed", choices=("plain", "exact", "fast", "turbo"), default="exact", help="of ours (default: %(default)s)"
    )
    parser.add_argument("--size", type=size, help="of the pictures, as in 1344x768 (default: the profile's square)")
    parser.add_argument("--batch-size", type=int, help="frames painted at once by ours (default: the profile's)")
    parser.add_argument("--low-memory", action="store_true", help="ours keeps text encoders and CLIP in main memory")
    parser.add_argument("--card", type=float, metavar="GIB", help="limit ours to the memory of such a card")
    parser.add_argument("--steps", type=int, help="denoising steps; fewer are not scaled up (default: the profile's)")
    parser.add_argument("--repeats", type=int, default=1, help="storyboards of each; medians are printed (default: 1)")
    parser.add_argument("--only", choices=("ours", "stock"), help="omit the other")
    return parser.parse_args()


def main() -> None:
    """Measure both, and print the figures. Exit code 1 if a part failed."""
    given = arguments()
    device = choose(given.device)
    figures = Figures(given.out, device)
    figures.header("storyboard on")
    profile = known(given.models) if given.models else STEPPE
    adapter = lora_of(given.models) if given.models else own_adapter(profile)
    ours = Ours(profile, adapter, device, given)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        if given.only != "stock":
            with figures.part("ours"), card_of(device, given.card):
                seconds["ours"] = measure_ours(ours, figures, place / "ours", given)
        if given.only != "ours":
            with figures.part("stock"):
                # In the device's thread: on a CPU another thread would be slowed down by that one's OpenMP workers.
                seconds["stock"] = compute(device, lambda: measure_stock(ours, figures, place / "stock", given))
        if len(seconds) == 2:
            with figures.part("difference"):
                last = place / "ours" / f"board{given.repeats - 1}"
                figures.note("difference", **compare(last, place / "stock" / "board", len(ACTIONS)))
        with figures.part("conclusion"):
            conclude(figures, ours, seconds)
    raise SystemExit(1 if figures.failed else 0)


if __name__ == "__main__":
    main()
