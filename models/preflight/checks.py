"""The preflight: finds all problems that would stop a storyboard, before any work.

Each problem is one line with the value and the way out. No weights are downloaded, and torch is imported only for
questions about the GPU.
"""

from __future__ import annotations

import functools
import logging
import platform
import tomllib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from models.bases.hub import find_lora
from models.errors import ChecksFailed, InputError, PaintersUnreachable, StoryboardError
from models.frames.render_config import RunSettings, loras_of
from models.language.endpoint import find_writer_problem
from models.origin.signing import find_signing_problem
from models.painters.choose import painter
from models.preflight.components import find_component_problems, find_room_problems
from models.preflight.devices import find_device_problems, find_machine_problems
from models.preflight.resolution import resolve
from models.profiles import ROOT, Profile
from models.secrets.keys import Keys
from models.settings import EMBEDDED, StoryboardOptions
from models.storage.adapters import is_s3, local_path, locate_adapter
from models.storage.files import why_not_writable
from models.turbo import is_in_hub

logger = logging.getLogger("models.preflight.checks")

DISTRIBUTION = "aldar-kose-storyboard"
INSTALL = "pip install -e ."
BROKEN = {"prefect": "<3.9.1", "pydantic": "<2", "openai": "<1", "transformers": "<5"}
"""Releases with incompatible interfaces."""

Check = Callable[[StoryboardOptions, Profile, Keys], Iterator[str]]


def require(options: StoryboardOptions, keys: Keys, run: str = "") -> RunSettings:
    """Return the run's settings on this machine; refuse options with which no storyboard can be made.

    Raises:
        ChecksFailed: holds every problem, in the order in which to correct them.
    """
    profile = options.get_profile()
    # Within a check, because torch, which looks for a GPU, may be missing.
    resolved = functools.cache(lambda: resolve(options, profile, run))
    checks = [functools.partial(check, options, profile, keys) for check in _CHECKS]
    problems = gather([*checks, lambda: _device_problems(options, resolved())])
    if problems:
        raise ChecksFailed(problems)
    return resolved()


def gather(checks: list[Callable[[], Iterator[str]]]) -> tuple[str, ...]:
    """Return the packages' problems and those of all checks; an error in one check does not skip the others."""
    problems = list(find_package_problems())
    packages_are_there = not problems
    for check in checks:
        try:
            problems.extend(check())
        except (InputError, PaintersUnreachable) as error:
            problems.append(str(error))
        except ImportError as error:
            # Missing packages are reported above; an installed package that can't be imported is not.
            if packages_are_there:
                problems.append(f"{_one_line(error)}: pip install --force-reinstall -e .")
        except OSError as error:
            problems.append(f"a check could not be made: {_one_line(error)}")
    return tuple(dict.fromkeys(problems))  # two checks may find the same one


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())


def find_package_problems() -> Iterator[str]:
    """Yield one line for each missing or incompatible package; an untested version only logs one warning."""
    try:
        from packaging.requirements import Requirement
        from packaging.specifiers import SpecifierSet
    except ImportError:
        yield f"packaging is missing: {INSTALL}"
        return
    python, requirements = declared()
    if not SpecifierSet(python).contains(platform.python_version(), prereleases=True):
        yield f"Python {platform.python_version()} is outside {python}: install another one, then {INSTALL}"
    for wanted in map(Requirement, requirements):
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        version, needed = _installed_version(wanted.name), f"{wanted.name}{wanted.specifier}"
        if version is None:
            yield f"{wanted.name} is missing, {needed} is needed: {INSTALL}"
        elif SpecifierSet(BROKEN.get(wanted.name, "<0")).contains(version, prereleases=True):
            yield f"{wanted.name} {version} does not work here, {needed} is needed: {INSTALL}"
        elif not wanted.specifier.contains(version, prereleases=True):
            _warn(f"{wanted.name} {version} is installed but untested: if something fails, install {needed}")


@functools.cache
def _warn(line: str) -> None:
    logger.warning("%s", line)


def declared() -> tuple[str, list[str]]:
    """Return the required Python and packages, from the installed metadata or else from pyproject.toml."""
    try:
        about = metadata.metadata(DISTRIBUTION)
        return about["Requires-Python"], metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return project["requires-python"], project["dependencies"]


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _device_problems(options: StoryboardOptions, settings: RunSettings) -> Iterator[str]:
    if settings.painters == EMBEDDED:
        yield from find_device_problems(settings.setup, is_asked=options.device is not None)
    else:
        machine = painter(settings.painters).machine()
        yield from find_machine_problems(settings.setup, machine, settings.painters)


def _output_problems(options: StoryboardOptions, _profile: Profile, _: Keys) -> Iterator[str]:
    yield from find_output_problems(options.output_dir)


def find_output_problems(directory: str) -> Iterator[str]:
    """Yield one line if the directory is not writable."""
    reason = why_not_writable(Path(directory))
    if reason:
        yield f"{directory}/ directory writable? {reason}; correct that, or choose another with --output-dir"


def _writer_problems(options: StoryboardOptions, profile: Profile, keys: Keys) -> Iterator[str]:
    problem = find_writer_problem(keys) if options.writer_name(profile) == "openai" else None
    if problem:
        yield problem


def _signing_problems(_options: StoryboardOptions, _profile: Profile, keys: Keys) -> Iterator[str]:
    problem = find_signing_problem(keys)
    if problem:
        yield problem


def _adapter_problems(options: StoryboardOptions, profile: Profile, keys: Keys) -> Iterator[str]:
    from models.diffusion.adapter_fit import judge  # here, because it imports slowly

    for lora in loras_of(options, profile):
        try:
            if is_s3(lora.source):
                yield from _s3_problems(lora.source, keys)
            elif lora.turbo and is_in_hub(lora.turbo):
                if here := find_lora(lora.turbo):
                    judge(locate_adapter(here), profile.base)
            else:
                judge(locate_adapter(local_path(lora.source)), profile.base)
        except StoryboardError as error:
            yield f"LoRA: {error}; choose another with {lora.option}"


def _s3_problems(source: str, keys: Keys) -> Iterator[str]:
    from models.s3.bucket import parse_location  # here, because boto3 imports slowly and local weights do not need it
    from models.s3.client import find_credentials_problem

    location = parse_location(source)
    problem = find_credentials_problem(keys, needed=False)  # a public bucket needs none
    if problem:
        yield f"{location}: {problem}"


def _sketch_problems(options: StoryboardOptions, _profile: Profile, _: Keys) -> Iterator[str]:
    if options.sketches and options.pipeline == "simplified":
        yield "sketches need the ControlNet, which --pipeline simplified leaves out: use reference_guided"
    for number, file in sorted(options.sketches.items()):
        where = f"sketch of frame {number}, {file!r}"
        if number > options.frames:
            yield f"{where}: the storyboard has frames 1 to {options.frames}"
        reason = _why_no_picture(Path(file).expanduser())
        if reason:
            yield f"{where}: {reason}"


def _why_no_picture(path: Path) -> str | None:
    from PIL import Image

    if not path.is_file():
        return "no such file"
    try:
        with Image.open(path) as image:
            if image.width * image.height > (Image.MAX_IMAGE_PIXELS or 2**27):
                return f"{image.width}x{image.height} pixels are too many"
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return "not a picture that can be read; save it as PNG or JPEG"
    return None


_CHECKS: tuple[Check, ...] = (
    _output_problems,
    _writer_problems,
    _signing_problems,
    _adapter_problems,
    lambda options, profile, _: find_component_problems(options, profile) if options.painters == EMBEDDED else iter(()),
    lambda options, profile, _: find_room_problems(options, profile),
    _sketch_problems,
)
