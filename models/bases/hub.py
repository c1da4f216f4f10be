"""Fetches a component's files from the Hugging Face hub into its cache.

Each failure becomes one line: no connection, an unknown repository or revision, terms not accepted, a refused token,
an incomplete cache. The library's own settings apply: HF_HOME, HF_TOKEN, HF_ENDPOINT (a mirror), HF_HUB_OFFLINE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from models.bases.layouts import MODEL_INDEX, PARTS, choose_files, choose_weights
from models.errors import ConnectionFailed, ObjectNotFound, StorageError, StoryboardError, WeightsInvalid
from models.sources import SINGLE, Component
from models.storage.adapters import adapter_files
from models.storage.files import way_out

CONFIGS = (MODEL_INDEX, "config.json", *(f"{part}/config.json" for part in PARTS), "scheduler/scheduler_config.json")
"""Files, a few kilobytes together, that show whether a model is of the right kind."""
TOKENIZER = tuple(
    f"tokenizer/{name}" for name in ("vocab.json", "merges.txt", "tokenizer.json", "*config.json", "spec*")
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
REACH_SECONDS = 10.0
"""Timeout of the one request that asks whether the hub answers."""
_TOO_MANY, _UNKNOWN_TOKEN, _FORBIDDEN, _SERVER = 429, 401, 403, 500


def fetch(component: Component) -> Path:
    """Return the local folder or file of a component; files missing from the hub's cache are downloaded.

    Raises:
        WeightsInvalid: no such folder, file, repository or revision, or no permission to read it.
        ConnectionFailed: the hub can't be reached and its cache is incomplete.
    """
    if not component.is_local:
        with _one_line(component):
            if component.files:
                return _download(component, component.files)
            online = _is_in_reach()
            return _download(component, _chosen(component, online), online)
    path = Path(component.source)
    if not (path.is_file() if component.is_file else path.is_dir()):
        kind = "file" if component.is_file else "folder"
        raise WeightsInvalid(f"{path}: no such {kind}; fetch the weights or name another profile")
    return path


def fetch_lora(component: Component) -> Path:
    """Return the local folder of a hub repository's LoRA, or its file if the component names one.

    Raises:
        WeightsInvalid, ObjectNotFound: no such repository, revision or file, or several LoRAs.
        ConnectionFailed: the hub can't be reached and its cache is incomplete.
    """
    with _one_line(component):
        names = component.files
        if cached := _cached_lora(component):
            return cached
        online = _is_in_reach()
        if online or not names:
            names = choose_lora(component, online)
        folder = _download(component, names, online)
    return folder / names[0] if len(names) == 1 else folder


def find_lora(component: Component) -> Path | None:
    """Return a hub repository's LoRA if it is in the cache; else None, after asking the hub whether it has it.

    Raises:
        WeightsInvalid, ObjectNotFound, ConnectionFailed: as `fetch_lora`.
    """
    with _one_line(component):
        cached = _cached_lora(component)
        if cached is None:
            choose_lora(component, _is_in_reach())
        return cached


def choose_lora(component: Component, online: bool) -> tuple[str, ...]:
    """Return the files of a hub repository that make up its LoRA; asks the hub once."""
    names = _listed(component, online)
    if not component.files:
        return adapter_files(names, name_of(component))
    for wanted in component.files:
        if wanted not in names:
            loras = [name for name in names if name.lower().endswith(SINGLE)]
            there = f"; it has {', '.join(loras[:8])}" if loras else ""
            raise ObjectNotFound(f"{name_of(component)}: no file {wanted} there{there}; name another")
    return component.files


def _cached_lora(component: Component) -> Path | None:
    """Return the one file that a component names, if it is in the cache."""
    from huggingface_hub import try_to_load_from_cache

    if len(component.files) != 1:
        return None
    found = try_to_load_from_cache(component.source, component.files[0], revision=component.revision)
    return Path(found) if isinstance(found, str) else None


def fetch_part(component: Component, names: tuple[str, ...]) -> Path:
    """Return the component's folder with at least the files of these names or patterns."""
    if component.is_local:
        return Path(component.source)
    with _one_line(component):
        return _download(component, names)


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE is set."""
    from huggingface_hub import is_offline_mode

    return is_offline_mode()


def name_of(component: Component) -> str:
    """Return the name used in messages: the source, with @revision unless that is a commit hash."""
    revision = component.revision
    return component.source if revision is None or _COMMIT.fullmatch(revision) else f"{component.source}@{revision}"


def _download(component: Component, names: tuple[str, ...], online: bool | None = None) -> Path:
    """Return the folder with these files; `online` is whether the hub is in reach, None if nobody has asked yet."""
    if component.revision and _COMMIT.fullmatch(component.revision):
        with suppress(OSError):  # a commit never changes, so a complete cache needs no request
            return _snapshot(component, names, cached=True)
    return _snapshot(component, names, cached=not (_is_in_reach() if online is None else online))


def _is_in_reach() -> bool:
    """Whether the hub answers one request. The library would retry each of its own for 23 seconds."""
    from huggingface_hub import constants, get_session

    if is_offline():
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=REACH_SECONDS)
    except Exception as error:
        if not _is_out_of_reach(error):
            raise
        return False
    return True


def _snapshot(component: Component, names: tuple[str, ...] | None, *, cached: bool) -> Path:
    from huggingface_hub import snapshot_download

    folder: str = snapshot_download(
        component.source,
        revision=component.revision,
        allow_patterns=None if names is None else list(names),
        local_files_only=cached,
    )
    return Path(folder)


def _chosen(component: Component, online: bool) -> tuple[str, ...]:
    """Return the files that loading needs."""
    names = _listed(component, online)
    chosen = choose_files(names, component.variant, pickled=component.pickled)
    if not choose_weights([name.rpartition("/")[2] for name in chosen], component.variant, pickled=component.pickled):
        raise WeightsInvalid(f"{name_of(component)}: no model in the diffusers layout, only {', '.join(names[:5])}")
    return tuple(chosen)


def _listed(component: Component, online: bool) -> list[str]:
    """Return the repository's files, or those in its cache without connection."""
    from huggingface_hub import HfApi

    if online:
        try:
            return HfApi().list_repo_files(component.source, revision=component.revision)
        except Exception as error:
            if not _is_out_of_reach(error):
                raise
    # The cache does not record which files a snapshot lacks, so only the present ones can be listed.
    kept = _snapshot(component, (), cached=True)
    return [path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()]


def _is_out_of_reach(error: BaseException) -> bool:
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= _SERVER
    transport: type[BaseException] = HfHubHTTPError.__bases__[0]
    return isinstance(error, (OfflineModeIsEnabled, LocalEntryNotFoundError, ConnectionError, TimeoutError, transport))


@contextmanager
def _one_line(component: Component) -> Iterator[None]:
    """Turn the hub library's exceptions into the project's errors.

    Raises:
        WeightsInvalid: waiting does not help.
        ConnectionFailed: waiting may help.
        StorageError: the cache folder can't be read or written.
    """
    try:
        yield
    except StoryboardError:
        raise
    except (OSError, ValueError, LookupError, RuntimeError, _http_error()) as error:
        raise _told(error, component) from error


def _http_error() -> type[Exception]:
    """Return the HTTP client's exception class; the client depends on the library's version."""
    from huggingface_hub.errors import HfHubHTTPError

    base: type[Exception] = HfHubHTTPError.__bases__[0]
    return base


_REFUSALS = {
    "GatedRepoError": "{what} is gated: accept its terms at {hub}/{source}, then set HF_TOKEN or run hf auth login",
    "RevisionNotFoundError": "{source}: {hub} has no revision {revision!r} of it; name another",
    "DisabledRepoError": "{what}: {hub} has disabled this repository; name another",
    "RepositoryNotFoundError": (
        "{what}: {hub} has no such repository, or it is private: check the name; for a private one set HF_TOKEN or run "
        "hf auth login"
    ),
    "HFValidationError": "{what} is not a hub repository's name; expected owner/name",
}
"""The library's error -> the message; the first match is used."""


def _told(error: BaseException, component: Component) -> StoryboardError:
    from huggingface_hub import constants, errors

    hub, what = _host(), name_of(component)
    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, errors.HfHubHTTPError):
        error = error.__cause__
    for name, text in _REFUSALS.items():
        if isinstance(error, getattr(errors, name)):
            return WeightsInvalid(text.format(what=what, hub=hub, source=component.source, revision=component.revision))
    if isinstance(error, errors.HfHubHTTPError):
        return _answered(error.response.status_code, what, hub)
    if _is_out_of_reach(error):
        return _unreachable(what, hub)
    if isinstance(error, OSError) and error.errno:
        place = error.filename or constants.HF_HUB_CACHE
        return StorageError(f"{what}: {place}: {way_out(error)}; HF_HOME sets the hub's folder")
    return WeightsInvalid(f"{what}: {' '.join(str(error).split())[:200] or type(error).__name__}")


def _answered(status: int, what: str, hub: str) -> StoryboardError:
    if status == _UNKNOWN_TOKEN:
        return WeightsInvalid(f"{what}: {hub} refuses the token: correct HF_TOKEN, or run hf auth login")
    if status == _FORBIDDEN:
        return WeightsInvalid(f"{what}: the token may not read it at {hub}: use another HF_TOKEN, or ask for access")
    if status == _TOO_MANY or status >= _SERVER:
        return ConnectionFailed(f"{what}: {hub} answers {status}; try again later, or set HF_ENDPOINT to a mirror")
    return WeightsInvalid(f"{what}: {hub} answers {status}; check the name, and HF_ENDPOINT if it is set")


def _unreachable(what: str, hub: str) -> StoryboardError:
    lacking = f"{what} is not in the cache, or only in part, and"
    if is_offline():
        return ConnectionFailed(f"{lacking} HF_HUB_OFFLINE is set: unset it, or set HF_HOME to where it is")
    return ConnectionFailed(
        f"{lacking} {hub} is out of reach: check the network and HTTPS_PROXY, or set HF_ENDPOINT to a mirror"
    )


def _host() -> str:
    """Return the hub's host and port, without a user or password."""
    from huggingface_hub import constants

    parts = urlsplit(constants.ENDPOINT)
    port = f":{parts.port}" if parts.hostname and parts.port else ""
    return f"{parts.hostname or 'the hub'}{port}"
