"""Words of a story that the offline writer's scenes leave out: what is told, and what is no reason to tell anything."""

from __future__ import annotations

import pytest

from models.language import offline
from models.profiles import SDXL
from models.records import SceneBreakdown, Story


def board(text: str, frames: int = 6) -> SceneBreakdown:
    return offline.write(Story(text=text), frames, SDXL)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A wolf chases Aldar Köse through the rain", ("wolf", "chases", "rain")),
        (
            "Aldar Köse and the wolf steal a drum from the blacksmith while thunder rolls over the steppe",
            ("wolf", "drum", "blacksmith", "thunder", "rolls"),
        ),
        ("Clever Aldar swims across the lake, catches a golden fish and sells it", ("swims", "fish")),
        ("A snake bites the khan's horse and Aldar heals it with needle and turnip", (
            *("snake", "bites", "heals", "needle", "turnip"),
        )),
        ("Волк и дождь застали Алдара Косе в степи, и волку стало грустно", ("волк", "дождь")),
        ("Лиса и медведь поют песни у костра", ("лиса", "медведь", "поют", "песни", "костра")),
        ("Алдар-Косе и беркут летят над березой, а в машине играют на барабане", (
            *("беркут", "летят", "березой", "машине", "играют", "барабане"),
        )),
        ("Қасқыр Алдар Көсені жаңбырда қуып келеді", ("қасқыр", "жаңбырда", "қуып")),
        ("Алдар Көсе ханның алдында домбыра тартып, ән айтты", ("домбыра", "ән")),
        ("Көпес Алдардан қылыш пен етік сатып алды", ("қылыш", "етік")),
        ("A khan, a merchant, an old man, a woman, a boy and a young man meet Aldar", ("old man", "woman", "boy")),
        ("阿尔达尔在集市上骗了贪心的商人", ()),
    ],
)  # fmt: skip
def test_what_no_scene_shows_is_told_in_the_storys_words(text: str, words: tuple[str, ...]) -> None:
    assert board(text).left_out == words


@pytest.mark.parametrize(
    "text",
    [
        "Aldar Köse outwits the khan",
        "Aldar Köse tricks a greedy merchant in the bazaar",
        "Aldar Kose wins the khan's best horse in a race across the steppe",
        "Aldar helps a poor widow get her sheep back from a stingy bai in the village",
        "Aldar meets a merchant in a red robe with a turban",
        "aldar_kose_man is riding a camel, in the steppe, at sunset",
        "Aldar Köse persuades a rich bai that his old donkey can produce gold coins every morning",
        "On a snowy winter night Aldar Kose trades his torn coat for a fast horse of the bai",
        "The khan promised a sack of gold to whoever could tell the most unbelievable lie",
        "Алдар-Косе ночью украл у бая верблюда и мешок золота",
        "Алдар Косе продаёт старику в красном халате хлеб у реки",
        "Зимой Алдар Косе встретил жадного бая в тёплой шубе и выменял её на свою дырявую",
        "Однажды Алдар Косе пришёл в гости к скупому баю, который никогда никого не угощал",
        "Жил-был на свете Алдар Косе, безбородый хитрец, и был у него один старый осёл",
        "Алдар Көсе сараң байдың қазанынан ет жеп, үйінде қонып шықты",
        "Алдар жасыл шапан киген ханды көрді, тәжі бар",
        "Алдар Көсе атты қу",
        "Алдар Көсе көпесті сендіріп, оның кілемін тегін алып кетеді",
        "Хан кім өтірікті жақсы айтса, соған бір қап алтын беремін деп жар салады",
        "Бір күні Алдар Көсе көршісінің үйіне келіп, қонақ болды",
    ],
)
def test_a_story_that_is_shown_leaves_nothing_out(text: str) -> None:
    assert board(text).left_out == ()


def test_forms_of_one_word_are_told_once() -> None:
    assert board("A wolf, two wolves and the wolf's rain").left_out == ("wolf", "rain")
    assert board("Волк, волка, волку, волки").left_out == ("волк",)


def test_weather_is_left_out_of_every_tale_but_the_cold_one() -> None:
    assert board("Aldar swaps a coat in the snow").left_out == ()
    assert board("Aldar wins a race on a horse against a camel in the snow").left_out == ("snow",)


def test_what_few_frames_have_no_room_for_is_left_out() -> None:
    story = "A carpet, a dog, a sheep and bread at the bazaar"
    assert board(story, 6).left_out == ()
    assert set(board(story, 1).left_out) >= {"dog", "sheep"} - {board(story, 1).scenes[0].things[0].removeprefix("a ")}


def test_scenes_of_earlier_versions_have_left_nothing_out() -> None:
    breakdown = board("A wolf in the rain")
    old = breakdown.model_dump(mode="json", exclude={"left_out"})
    assert SceneBreakdown.model_validate(old).left_out == ()
    assert SceneBreakdown.model_validate_json(breakdown.model_dump_json()) == breakdown
