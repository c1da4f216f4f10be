"""The store gives out what was finished, whole and unchanged, or nothing."""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.errors import StorageError
from models.records import Story
from models.scores import Scores
from models.storage.content_store import Painted, Store, content_key

KEY = content_key("pictures", frame=1)
PNG = b"\x89PNG" + bytes(range(256)) * 40
SCORES = Scores(consistency=0.7512345678901234, prompt=0.31, anomalies=("бос сурет",))
STORY = Story(text="Алдар Көсе байды алдады 🐫")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.within(tmp_path)


def entry_of(store: Store, kind: str, key: str) -> Path:
    return next((store.root / kind).rglob(f"{key}.json"))


# --- keys


def test_a_key_is_made_of_every_part_and_of_nothing_else() -> None:
    key = content_key("scenes", story="x", seed=1)
    assert key == content_key("scenes", seed=1, story="x")
    others = [
        content_key("prompts", story="x", seed=1),
        content_key("scenes", story="x", seed=2),
        content_key("scenes", story="x"),
        content_key("scenes", story="x", seed=1, steps=None),
        content_key("scenes", story="x", seed="1"),
    ]
    assert len({key, *others}) == 6


def test_a_key_is_the_same_in_every_release() -> None:
    # A new value means that everything in people's stores is painted again: only a raised version may do that.
    assert content_key("scenes", story=STORY, size=(256, 256), guidance=3.0) == (
        "770fac84808a54414caee23f695f56b473d490267b4e541ac3563af73960c8e1"
    )


def test_a_key_takes_records_by_their_fields_and_sequences_alike() -> None:
    assert content_key("a", story=STORY, size=(1, 2)) == content_key("a", story=STORY.model_dump(), size=[1, 2])


@pytest.mark.parametrize(("value", "error"), [(float("nan"), ValueError), (object(), TypeError), (b"x", TypeError)])
def test_a_key_refuses_what_has_no_canonical_form(value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        content_key("a", part=value)


# --- records


def test_what_was_put_is_found_by_another_store_of_the_same_folder(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert store.get("stories", KEY, Story) is None
    store.put("stories", KEY, STORY)
    assert Store(tmp_path / ".store").get("stories", KEY, Story) == STORY
    assert store.get("other", KEY, Story) is None
    assert not caplog.messages


def test_forgotten_is_absent_and_forgetting_twice_is_no_error(store: Store) -> None:
    store.put("stories", KEY, STORY)
    store.forget("stories", KEY)
    store.forget("stories", KEY)
    assert store.get("stories", KEY, Story) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"null",
        b"[1, 2]",
        b'"text"',
        b'{"version": 1}',
        b"[" * 100_000,
        lambda entry: entry[: len(entry) // 2],
        lambda entry: entry.replace(KEY.encode(), b"0" * 64),
        lambda entry: entry.replace(b'"kind": "stories"', b'"kind": "scenes"'),
        lambda entry: entry.replace(b'"version": 1', b'"version": 0'),
        lambda entry: entry.replace(b'"text"', b'"words"'),
        lambda entry: entry.replace(b'{"text"', b'{"more": 1, "text"'),
    ],
)
def test_a_broken_or_foreign_entry_is_absent_with_one_line(
    content: bytes | Callable[[bytes], bytes], store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("stories", KEY, STORY)
    path = entry_of(store, "stories", KEY)
    whole = json.dumps(json.loads(path.read_bytes())).encode()
    broken = content(whole) if callable(content) else content
    assert broken != whole
    path.write_bytes(broken)
    assert store.get("stories", KEY, Story) is None
    assert len(caplog.messages) == 1
    assert str(path) in caplog.messages[0]
    assert "\n" not in caplog.messages[0]
    store.put("stories", KEY, STORY)
    assert store.get("stories", KEY, Story) == STORY


def test_an_entry_that_cannot_be_opened_is_absent(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.put("stories", KEY, STORY)
    path = entry_of(store, "stories", KEY)
    path.unlink()
    path.mkdir()
    assert store.get("stories", KEY, Story) is None
    assert len(caplog.messages) == 1


# --- pictures


def test_a_picture_is_given_out_with_what_was_measured(store: Store) -> None:
    painted = store.put_picture(KEY, PNG, seed=2042, scores=SCORES, run="a1")
    sha256 = hashlib.sha256(PNG).hexdigest()
    assert painted == Painted(file=painted.file, sha256=sha256, seed=2042, scores=SCORES, run="a1")
    assert Path(painted.file).read_bytes() == PNG
    assert store.get_picture(KEY) == painted


@pytest.mark.parametrize("harm", ["one bit", "cut", "empty", "gone", "a folder"])
def test_a_harmed_picture_is_absent_with_one_line_and_can_be_painted_again(
    harm: str, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(store.put_picture(KEY, PNG, seed=1, scores=SCORES).file)
    path.unlink()
    if harm == "a folder":
        path.mkdir()
    elif harm != "gone":
        path.write_bytes({"one bit": PNG[:-1] + b"\xfe", "cut": PNG[:-1], "empty": b""}[harm])
    assert store.get_picture(KEY) is None
    assert len(caplog.messages) == 1
    assert str(path) in caplog.messages[0]
    assert "\n" not in caplog.messages[0]
    if harm != "a folder":
        assert store.put_picture(KEY, PNG, seed=1, scores=SCORES) == store.get_picture(KEY)


def test_a_moved_output_directory_keeps_its_pictures(tmp_path: Path) -> None:
    Store.within(tmp_path / "a").put_picture(KEY, PNG, seed=1, scores=SCORES)
    shutil.move(tmp_path / "a", tmp_path / "b")
    painted = Store.within(tmp_path / "b").get_picture(KEY)
    assert painted is not None
    assert Path(painted.file).read_bytes() == PNG


def test_forgetting_a_picture_spares_an_equal_one_under_another_key(store: Store) -> None:
    other = content_key("pictures", frame=2)
    store.put_picture(KEY, PNG, seed=1, scores=SCORES)
    store.put_picture(other, PNG, seed=1, scores=SCORES)
    store.forget("pictures", KEY)
    assert store.get_picture(KEY) is None
    assert store.get_picture(other) is not None


# --- what cannot be written


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let every longer write fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line_and_leaves_nothing(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with file_size_limit(1000), pytest.raises(StorageError, match="space") as caught:
        store.put_picture(KEY, PNG, seed=1, scores=SCORES)
    assert "\n" not in str(caught.value)
    assert store.get_picture(KEY) is None
    assert not [path for path in store.root.rglob("*") if path.is_file()]
    assert not caplog.messages


def test_a_file_where_the_folder_should_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".store").write_text("")
    store = Store.within(tmp_path)
    assert store.get("stories", KEY, Story) is None
    with pytest.raises(StorageError, match=r"directory|exists"):
        store.put("stories", KEY, STORY)
