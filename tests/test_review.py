"""People in the loop: what a run asks, what it does with the answer, and what it still knows when it starts again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from answers import Answer, Question, Replying, converse
from flow_runs import STORY, Ran, Stage, scenes_of
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, temporary_settings

import tasks.review
from flows.storyboard import storyboard
from models.board.markdown import escape
from models.errors import InputError, RunStopped
from models.language import writer


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.review, "POLL_SECONDS", 0.05)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stories for which a writer was asked."""
    original, stories = writer.write_scenes, list[str]()

    def counted(story: Any, *rest: Any) -> Any:
        stories.append(story.text)
        return original(story, *rest)

    monkeypatch.setattr(writer, "write_scenes", counted)
    return stories


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def talk(stage: Stage, client: SyncPrefectClient, *answers: Replying, **options: Any) -> Ran:
    """Run the storyboard's flow, and give its questions these answers."""

    def flow() -> State[Any]:
        return storyboard(STORY, stage.options(**options), return_state=True)

    return converse(flow, stage.output, client, *answers)


def accept(_: Question) -> Answer:
    return {}


def with_second_scene(**changes: Any) -> Callable[[Question], Answer]:
    """An answer in which the second scene is edited."""

    def answer(question: Question) -> Answer:
        typed = question.shown("changes")
        texts = {name: value if isinstance(value, str) else ", ".join(value) for name, value in changes.items()}
        return {"changes": "\n".join((typed, *(f"2 {name}: {text}" for name, text in texts.items())))}

    return answer


def redo(*wishes: Answer) -> Callable[[Question], Answer]:
    return lambda _: {"redo": list(wishes)}


# --- scenes


def test_an_edited_scene_is_painted_and_nobody_is_paid_again(
    stage: Stage, client: SyncPrefectClient, written: list[str]
) -> None:
    edit = with_second_scene(action="is sleeping", caption="He sleeps.")
    ran = talk(stage, client, edit, review="scenes")
    assert [scene.caption == "He sleeps." for scene in scenes_of(ran).scenes] == [False, True, False]
    assert ran.report.frames[1].scene.action == "is sleeping"
    assert "is sleeping" in ran.report.frames[1].prompt
    assert written == [STORY]
    assert "review of the scenes" in ran.report.seconds
    plain = stage.run()
    assert written == [STORY], "the store has what was written"
    assert scenes_of(plain).scenes[1].caption != "He sleeps."
    assert [a == b for a, b in zip(plain.pictures, ran.pictures, strict=True)] == [True, False, True]


def test_scenes_accepted_as_they_are_give_the_same_board(stage: Stage, client: SyncPrefectClient) -> None:
    ran = talk(stage, client, accept, review="scenes")
    plain = stage.run(output_dir=str(stage.output / "plain"))
    assert (scenes_of(ran), ran.pictures) == (scenes_of(plain), plain.pictures)
    assert plain.painted == ran.painted == [1, 1, 1]


def test_a_wrong_edit_asks_again_with_what_was_typed_and_says_why(
    stage: Stage, client: SyncPrefectClient, written: list[str]
) -> None:
    seen: list[Question] = []

    def mend(question: Question) -> Answer:
        seen.append(question)
        return with_second_scene(cast=[])(question)

    ran = talk(stage, client, with_second_scene(cast=["the dragon"], place="cave"), mend, review="scenes")
    (second,) = seen
    assert escape("scene 2 names ['the dragon'], the cast is ['the merchant']") in second.page
    assert second.schema["properties"]["changes"]["description"].startswith("Not accepted: scene 2 names")
    assert "2 cast: the dragon" in second.shown("changes")
    assert (scenes_of(ran).scenes[1].place, scenes_of(ran).scenes[1].cast) == ("cave", ())
    assert written == [STORY]


def test_what_does_not_fit_a_field_is_refused_before_the_run_goes_on(stage: Stage, client: SyncPrefectClient) -> None:
    def answer(question: Question) -> Answer:
        refused = question.answer(client, changes="x" * 10_001)
        assert refused.status == "REJECT"
        assert "changes" in refused.details.reason
        return {"changes": "title: Another title"}

    assert talk(stage, client, answer, review="scenes").report.title == "Another title"


def test_another_run_shows_the_scenes_as_they_were_approved(stage: Stage, client: SyncPrefectClient) -> None:
    talk(stage, client, with_second_scene(caption="He sleeps."), review="scenes", frames=2)

    def look(question: Question) -> Answer:
        assert "as they were approved before" in question.page
        assert "### 2. He sleeps." in question.page
        return {}

    again = talk(stage, client, look, review="scenes", frames=2)
    assert scenes_of(again).scenes[1].caption == "He sleeps."
    assert again.painted == [0, 0]


def test_an_answer_that_never_comes_ends_the_run_in_one_line(
    stage: Stage, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.review, "HOURS", 1 / 3600)
    with pytest.raises(RunStopped, match=r"nobody approved the scenes within .* hours; run it again to continue"):
        storyboard(STORY, stage.options(review="scenes"))


def test_where_nobody_can_answer_a_review_is_refused_at_once(stage: Stage) -> None:
    with temporary_settings({PREFECT_API_URL: None}), pytest.raises(InputError) as refused:
        inspect.unwrap(storyboard.fn)(STORY, stage.options(review="scenes"))
    words = str(refused.value)
    assert "\n" not in words
    assert all(part in words for part in ("review scenes", "PREFECT_API_URL", "make up", "--review none"))
    assert not stage.output.exists()


# --- frames


def test_a_frame_is_painted_again_with_another_seed_and_the_others_stay(
    stage: Stage, client: SyncPrefectClient
) -> None:
    pages: list[str] = []

    def another_seed(question: Question) -> Answer:
        pages.append(question.page)
        return {"redo": [{"frame": 2, "seed": 777}]}

    def look(question: Question) -> Answer:
        pages.append(question.page)
        return {"redo": []}

    ran = talk(stage, client, another_seed, look, review="frames")
    assert [frame.seed for frame in ran.report.frames] == [42, 777, 3042]
    assert all("![contact sheet](data:image/jpeg;base64," in page for page in pages)
    assert [f"| {seed} |" in page for page in pages for seed in (2042, 777)] == [True, False, False, True]
    plain = stage.run()
    assert [a == b for a, b in zip(plain.pictures, ran.pictures, strict=True)] == [True, False, True]
    assert (plain.painted, ran.painted) == ([0, 0, 0], [1, 1, 1])


def test_frames_accepted_at_once_give_the_same_board(stage: Stage, client: SyncPrefectClient) -> None:
    ran = talk(stage, client, accept, review="frames")
    assert ran.pictures == stage.run().pictures
    assert len(stage.boards()) == 2


def test_other_words_and_the_next_seed(stage: Stage, client: SyncPrefectClient) -> None:
    words = "aldar_kose_man is sleeping,\n in the mountains"
    first = redo({"frame": 2}, {"frame": 3, "prompt": words})
    ran = talk(stage, client, first, redo({"frame": 2}, {"frame": 3, "seed": 5, "prompt": ""}), accept, review="frames")
    assert [frame.seed for frame in ran.report.frames] == [42, 2062, 5]
    prompts = [frame.prompt for frame in ran.report.frames]
    assert prompts[2] == "aldar_kose_man is sleeping, in the mountains"
    assert prompts[2] in (ran.board / "sdxl_prompts.json").read_text("utf-8")
    assert prompts[1] == stage.run().report.frames[1].prompt


def test_with_frame_1_all_frames_are_painted_again(stage: Stage, client: SyncPrefectClient) -> None:
    ran = talk(stage, client, redo({"frame": 2, "seed": 777}), redo({"frame": 1, "seed": 7}), accept, review="frames")
    assert [frame.seed for frame in ran.report.frames] == [7, 777, 3042]
    before = stage.run().report
    assert ran.report.frames[0].sha256 != before.frames[0].sha256
    assert ran.report.frames[2].consistency_score != before.frames[2].consistency_score
    assert ran.painted == [1, 1, 1]


REFUSED: tuple[tuple[str, list[Answer]], ...] = (
    ("frame 4: the storyboard has frames 1 to 3", [{"frame": 4}]),
    ("frame 2 is named more than once; keep one", [{"frame": 2}, {"frame": 2, "seed": 1}]),
    ("frame 2: seed 2042 gives the present picture again; choose another seed", [{"frame": 2, "seed": 2042}]),
    ("frame 3: the prompt has 497 tokens, at most 77 are allowed; shorten it", [{"frame": 3, "prompt": "camel " * 99}]),
)
"""Wishes that cannot be met, and why."""


def test_wishes_that_cannot_be_met_ask_again_each_time(stage: Stage, told: Ran, client: SyncPrefectClient) -> None:
    stage.begin_with(told)
    seen: list[list[str]] = []

    def look(question: Question, reply: list[Answer]) -> Answer:
        """Note which problems the question tells, and wish for something else."""
        problem, wishes = REFUSED[len(seen)]
        assert question.schema["properties"]["redo"]["description"].startswith(f"Not accepted: {problem}")
        assert [wish["frame"] for wish in question.shown("redo")] == [wish["frame"] for wish in wishes]
        seen.append([told for told, _ in REFUSED if told in question.page])
        return {"redo": reply}

    replies = [*(wishes for _, wishes in REFUSED[1:]), []]
    looks = [partial(look, reply=reply) for reply in replies]
    ran = talk(stage, client, redo(*REFUSED[0][1]), *looks, review="frames")
    assert ran.state.is_completed()
    assert seen == [[problem] for problem, _ in REFUSED]
