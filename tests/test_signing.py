"""Content credentials: what is signed, what a reader makes of it, and what is told where nothing can be signed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import Chain, key_pem, make_chain, new_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from PIL import Image
from s3_server import make_keys
from test_checks import find_problems
from written_boards import SCORES, noise, options_of, render_config_of

from models.frames.generate import FrameJob, generate, store_candidate
from models.frames.recipe import Recipe, read_recipe
from models.origin.mark import PAINTED
from models.origin.signing import RECIPE_LABEL, Signing, find_signing_problem, load_signing
from models.records import FramePrompt, FrameResult, Scene
from models.secrets.keys import Keys
from models.secrets.redaction import redact
from models.settings import StoryboardOptions, check_names

CERTIFICATE, KEY = "STORYBOARD_C2PA_CERT", "STORYBOARD_C2PA_KEY"


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return make_chain(tmp_path / "own")


def keys_of(chain: Chain) -> Keys:
    return make_keys(storyboard_c2pa_cert=str(chain.certificate), storyboard_c2pa_key=str(chain.key))


def signing_of(chain: Chain) -> Signing:
    signing = load_signing(keys_of(chain))
    assert signing is not None
    return signing


def job_of(output: Path, number: int, reference: FrameResult | None = None) -> FrameJob:
    scene = Scene(number=number, caption="Aldar bows.", action="is bowing", place="x", time="y", shot="z")
    prompt = FramePrompt(scene=scene, prompt=f"aldar {number}", negative_prompt="", tokens=9)
    return FrameJob(render_config=render_config_of(options_of(output)), prompt=prompt, reference=reference)


def painted(job: FrameJob, chain: Chain | None) -> FrameResult:
    scores = SCORES.model_copy(update={"consistency": None}) if job.number == 1 else SCORES
    store_candidate(job, 0, noise(job.number, (64, 64)), scores, chain and signing_of(chain))
    return generate(job)


def test_a_signed_picture_is_trusted_by_who_knows_the_root_and_names_what_made_it(tmp_path: Path, chain: Chain) -> None:
    first = painted(job_of(tmp_path, 1), chain)
    second = painted(job_of(tmp_path, 2, first), chain)
    reader = chain.read(Path(second.file))
    assert reader.get_validation_state() == "Trusted"
    assert chain.read(Path(second.file), trusted=False).get_validation_state() == "Valid"
    manifest = reader.get_active_manifest()
    assert manifest is not None
    assert manifest["title"] == "frame_002.png"
    assertions = {each["label"]: each["data"] for each in manifest["assertions"]}
    (action,) = assertions["c2pa.actions.v2"]["actions"]
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", PAINTED)
    recipe = read_recipe(second.file)
    assert Recipe.model_validate_json(assertions[RECIPE_LABEL]["json"]) == recipe
    told = {each["title"]: each for each in manifest["ingredients"]}
    assert told["base of steppe"]["instance_id"] == f"sha256:{recipe.base}"
    assert {each["relationship"] for each in told.values()} == {"inputTo"}
    # Frame 1 is taken over with its own manifest, and the action names all that it used.
    assert told["frame 1"]["active_manifest"] == chain.read(Path(first.file)).get_active_manifest()["label"]
    assert len(action["parameters"]["ingredients"]) == len(told)


def test_pixels_recipe_and_mark_of_a_signed_picture_are_those_of_an_unsigned_one(tmp_path: Path, chain: Chain) -> None:
    signed = painted(job_of(tmp_path / "signed", 1), chain)
    plain = painted(job_of(tmp_path / "plain", 1), None)
    assert signed.sha256 != plain.sha256
    with Image.open(signed.file) as ours, Image.open(plain.file) as other:
        assert ours.tobytes() == other.tobytes()
        assert ours.info == other.info
    with pytest.raises(Exception, match="ManifestNotFound"):
        chain.read(Path(plain.file))


def test_a_changed_picture_is_no_longer_valid(tmp_path: Path, chain: Chain) -> None:
    data = bytearray(Path(painted(job_of(tmp_path, 1), chain).file).read_bytes())
    data[-40] ^= 1
    changed = tmp_path / "changed.png"
    changed.write_bytes(data)
    assert chain.read(changed).get_validation_state() == "Invalid"


def test_a_picture_painted_before_there_was_a_certificate_is_taken_as_it_is(tmp_path: Path, chain: Chain) -> None:
    before = painted(job_of(tmp_path, 1), None)
    assert generate(job_of(tmp_path, 1), signing=signing_of(chain)).sha256 == before.sha256


def test_nothing_set_signs_nothing() -> None:
    assert load_signing(make_keys()) is None
    assert find_signing_problem(make_keys()) is None


def test_a_good_certificate_is_no_problem_and_both_names_are_known(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CERTIFICATE, str(chain.certificate))
    monkeypatch.setenv(KEY, str(chain.key))
    check_names()
    assert find_signing_problem(Keys()) is None
    assert find_problems(StoryboardOptions(device="cpu"), Keys()) == ()


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda chain: chain.key.unlink(), f"{KEY} '{{key}}': no such file or directory"),
        (lambda chain: chain.certificate.unlink(), f"{CERTIFICATE} '{{cert}}': no such file or directory"),
        (lambda chain: _write(chain.key, b"x" * 99), f"{KEY} '{{key}}': no private key in PEM"),
        (lambda chain: _write(chain.certificate, b"x"), f"{CERTIFICATE} '{{cert}}': no certificate in PEM"),
        (
            lambda chain: _write(chain.key, key_pem(new_key())),
            f"{KEY} '{{key}}' is not the key of the first certificate in {CERTIFICATE} '{{cert}}'",
        ),
        (
            lambda chain: _write(chain.key, key_pem(new_key(), b"steppe")),
            f"{KEY} '{{key}}': the key has a password; give one without",
        ),
        (
            lambda chain: make_chain(chain.key.parent, days=(-9, -3)),
            f"{CERTIFICATE} '{{cert}}': expired on ",
        ),
        (
            lambda chain: make_chain(chain.key.parent, days=(3, 9)),
            f"{CERTIFICATE} '{{cert}}': not valid before ",
        ),
        (
            lambda chain: make_chain(chain.key.parent, purpose=None),
            f"{CERTIFICATE} '{{cert}}': the extension extendedKeyUsage is missing",
        ),
        (
            lambda chain: make_chain(chain.key.parent, purpose=ExtendedKeyUsageOID.SERVER_AUTH),
            f"{CERTIFICATE} '{{cert}}': its extendedKeyUsage holds neither emailProtection nor documentSigning",
        ),
    ],
)
def test_what_can_not_sign_is_one_line_of_the_checks(spoil: Callable[[Chain], object], line: str, chain: Chain) -> None:
    spoil(chain)
    (problem,) = find_problems(StoryboardOptions(device="cpu"), keys_of(chain))
    assert problem.startswith(line.format(key=chain.key, cert=chain.certificate)), problem
    assert "\n" not in problem


def test_one_of_the_two_alone_is_told(chain: Chain) -> None:
    alone = make_keys(storyboard_c2pa_key=str(chain.key))
    assert find_signing_problem(alone) == f"{KEY} is set, {CERTIFICATE} is not: set both, or neither"


def test_the_key_is_hidden_and_its_path_is_not(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(KEY, str(chain.key))
    Keys()
    lines = chain.key.read_text().splitlines()[1:-1]
    assert all(line not in redact(f"what {line} is") for line in lines)
    assert redact(str(chain.key)) == str(chain.key)
    assert lines[0] not in repr(signing_of(chain))
    pasted = chain.key.read_text()
    problem = find_signing_problem(make_keys(storyboard_c2pa_cert=str(chain.certificate), storyboard_c2pa_key=pasted))
    assert problem is not None
    assert problem.startswith(f"{KEY} holds a key itself: write it to a file")
    logging.getLogger("models").warning("%s", pasted)
    assert not any(line in redact(caplog.text) for line in lines)
