"""The hub: the files that are needed and no others, and one line for everything that it may answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import hub_server
import huggingface_hub
import pytest
import tiny_models
import torch
from hub_server import COMMIT, OTHER_COMMIT, Hub, sdxl_files
from huggingface_hub import constants
from huggingface_hub.utils import _http

from models.bases.configurations import find_misfits
from models.bases.fingerprints import component_fingerprint
from models.bases.hub import fetch, fetch_lora, find_lora
from models.diffusion.parts import read_part
from models.errors import ConnectionFailed, ObjectNotFound, StorageError, StoryboardError, WeightsInvalid
from models.language.prompts import token_counter
from models.preflight.components import bytes_to_fetch
from models.profiles import SDXL, Profile
from models.sources import Component, locate

tiny_world = tiny_models.tiny_world
NAME = "steppe/coat-xl"


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    with hub_server.serving() as hub:
        yield hub


@pytest.fixture
def hub(server: Hub, tiny_world: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The server with a small SDXL, an empty cache, and no token."""
    server.repositories = {NAME: sdxl_files(Path(tiny_world.base.source))}
    server.refusal = None
    server.requests.clear()
    point_to(monkeypatch, server.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # The library waits 23 seconds over five tries of its own.
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda seconds: None, time=time.time))
    huggingface_hub.close_session()
    return server


def point_to(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What HF_ENDPOINT sets before the library is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


def base(**changes: object) -> Component:
    return Component.model_validate({"source": NAME, "variant": "fp16", "size": 1000, **changes})


def of(profile: Profile, **changes: Component) -> Profile:
    return profile.model_copy(update=changes)


def test_only_what_is_read_is_downloaded(hub: Hub, tiny_world: Profile) -> None:
    folder = fetch(base())
    assert hub.requests.count("HEAD ") == 1, "whether it is in reach is asked once"
    weights = {name for name in hub.downloads if name.endswith(".safetensors")}
    assert weights == {
        "text_encoder/model.fp16.safetensors",
        "text_encoder_2/model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    }
    assert not hub.downloads & set(hub_server.BESIDE)
    mine = of(tiny_world, base=base())
    assert list(find_misfits(mine, "Euler", guided=True)) == []
    known, found = (read_part(each, "unet", torch.float32, "cpu").state_dict() for each in (tiny_world, mine))
    assert all(torch.equal(known[name], found[name]) for name in known)
    assert token_counter(mine)("aldar in a yurt") == token_counter(tiny_world)("aldar in a yurt")
    assert folder.name == COMMIT


def test_a_repository_without_the_variant_gives_its_plain_files(hub: Hub, tiny_world: Profile) -> None:
    hub.repositories[NAME] = sdxl_files(Path(tiny_world.base.source), variants=(None,))
    fetch(base())
    assert "unet/diffusion_pytorch_model.safetensors" in hub.downloads
    hub.repositories[NAME] = sdxl_files(Path(tiny_world.base.source), variants=("fp16",))
    hub.requests.clear()
    folder = fetch(base(variant=None, revision="v2"))
    assert [file.name for file in folder.glob("unet/*.safetensors")] == ["diffusion_pytorch_model.fp16.safetensors"]


def test_a_revision_is_that_commit_and_a_whole_one_needs_no_hub(hub: Hub) -> None:
    source, revision = locate(f"{NAME}@v2", Path.cwd())
    assert (source, revision) == (NAME, "v2")
    tagged = base(revision=revision)
    assert fetch(tagged).name == OTHER_COMMIT
    pinned = base(revision=COMMIT, files=("*.json", "*.txt", "*.fp16.safetensors"))
    assert component_fingerprint(pinned, fetch(pinned)) != component_fingerprint(tagged, fetch(tagged))
    hub.requests.clear()
    assert fetch(pinned).name == COMMIT
    assert hub.requests == []
    assert bytes_to_fetch(pinned) == 0


def test_the_configurations_alone_tell_that_a_base_does_not_fit(hub: Hub, tiny_world: Profile) -> None:
    hub.repositories[NAME]["model_index.json"] = b'{"_class_name": "StableDiffusionPipeline"}'
    told = list(find_misfits(of(tiny_world, base=base()), "Euler", guided=True))
    assert told == [
        f"base {NAME}: holds StableDiffusionPipeline, needed StableDiffusionXLPipeline; " + told[0].split("; ")[1]
    ]
    assert not [name for name in hub.downloads if name.endswith(".safetensors")]


@pytest.mark.parametrize(
    ("refusal", "told", "may_help"),
    [
        ((403, "GatedRepo", "gated"), f"{NAME}@old is gated: accept its terms at .*/{NAME}, then set HF_TOKEN", False),
        ((401, "GatedRepo", "gated"), "is gated: accept its terms", False),
        ((401, "RepoNotFound", "no"), "has no such repository, or it is private: check the name", False),
        ((404, "RepoNotFound", "no"), "has no such repository, or it is private: check the name", False),
        ((404, "RevisionNotFound", "no"), "has no revision 'old' of it; name another", False),
        ((401, "", "Invalid credentials in Authorization header"), "refuses the token: correct HF_TOKEN", False),
        ((403, "", "no"), "the token may not read it", False),
        ((403, "", "Access to this resource is disabled."), "has disabled this repository", False),
        ((404, "", "nothing here"), "answers 404; check the name, and HF_ENDPOINT|no such repository", False),
        ((500, "", "no"), "answers 500; try again later|out of reach", True),
    ],
)
def test_every_refusal_is_its_own_line(
    hub: Hub, tiny_world: Profile, refusal: tuple[int, str, str], told: str, may_help: bool
) -> None:
    hub.refusal = refusal
    far = base(revision="old")
    with pytest.raises(StoryboardError, match=told) as raised:
        fetch(far)
    assert (raised.value.retryable, "\n" in str(raised.value)) == (may_help, False)
    problems = list(find_misfits(of(tiny_world, base=far), "Euler", guided=True))
    assert len(problems) == 1
    assert NAME in problems[0]


def test_a_hub_out_of_reach_and_a_cache_half_filled(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fetch(base(files=("*.json", "*.fp16.safetensors")))
    (folder / "vae" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    point_to(monkeypatch, "http://joe:secret@127.0.0.1:9")  # the discard port: nobody listens
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=pytest.fail, time=time.time))  # asked once, and no more
    half = base(files=("*.json", "*.fp16.safetensors"))
    with pytest.raises(
        ConnectionFailed, match=r"only in part, and 127.0.0.1:9 is out of reach: check the network"
    ) as no:
        fetch(half)
    assert "secret" not in str(no.value)
    for far in (base(source="steppe/elsewhere"), base(source="steppe/elsewhere", revision=OTHER_COMMIT)):
        with pytest.raises(ConnectionFailed, match=r"elsewhere.* is not in the cache"):
            fetch(far)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionFailed, match=r"only in part, and HF_HUB_OFFLINE is set: unset it, or set HF_HOME"):
        fetch(half)


def test_a_cache_that_cannot_be_written(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    with pytest.raises(
        StorageError, match=rf"{NAME}: {tmp_path}/file.*: not a directory; HF_HOME sets the hub's folder"
    ):
        fetch(base())


def test_a_lora_is_looked_for_with_one_question_and_only_its_file_is_downloaded(hub: Hub) -> None:
    hub.repositories[NAME] = {"turbo_4step.safetensors": b"four", "turbo_8step.safetensors": b"eight", "README.md": b""}
    lora = Component(source=NAME, size=0, files=("turbo_8step.safetensors",))
    assert find_lora(lora) is None
    assert [line for line in hub.requests if line.startswith("GET")] == [f"GET api/models/{NAME}/tree/main"]
    assert hub.downloads == set()
    assert fetch_lora(lora).read_bytes() == b"eight"
    assert hub.downloads == {"turbo_8step.safetensors"}
    hub.requests.clear()
    assert find_lora(lora) == fetch_lora(lora)
    assert hub.requests == []
    with pytest.raises(ObjectNotFound) as caught:
        find_lora(lora.model_copy(update={"files": ("turbo_2step.safetensors",)}))
    assert str(caught.value) == (
        f"{NAME}: no file turbo_2step.safetensors there; it has turbo_4step.safetensors, turbo_8step.safetensors; "
        "name another"
    )
    with pytest.raises(WeightsInvalid, match=r"several LoRA files .*; name one of them"):
        find_lora(lora.model_copy(update={"files": ()}))


def test_a_repository_of_something_else_is_named(hub: Hub) -> None:
    hub.repositories["steppe/words"] = {"README.md": b"", "model.gguf": b"1"}
    with pytest.raises(
        WeightsInvalid, match=r"steppe/words: no model in the diffusers layout, only README.md, model.gguf"
    ):
        fetch(base(source="steppe/words"))


def test_the_profiles_models_are_pinned() -> None:
    for component in (SDXL.base, SDXL.controlnet, SDXL.clip):
        assert len(component.revision or "") == 40
