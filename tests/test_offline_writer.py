"""The offline writer on many sentences: what it recognises, and that every board is a tale of different moments."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import WeightsInvalid
from models.language import offline
from models.language.grammar import lexemes
from models.language.kazakh import noun as kazakh_noun
from models.language.lexicon import LANGUAGES, read
from models.language.russian import noun as russian_noun
from models.language.tales import ENDINGS, MEETINGS, OPENINGS, SHAPES, TURNS
from models.language.vocabulary import PLAIN, Vocabulary
from models.language.writer import write_scenes, writer_versions
from models.profiles import PROFILES, SDXL
from models.records import Scene, SceneBreakdown, Story
from models.secrets.keys import Keys
from models.settings import StoryboardOptions

STORIES = (
    "Aldar Köse tricks a greedy merchant at the bazaar with a coat full of holes",
    "Aldar Kose wins the khan's best horse in a race across the steppe",
    "Aldar helps a poor widow get her sheep back from a stingy bai in the village",
    "ALDAR SELLS THE DEVIL A CARPET",
    'He said: "Run!"\nand they\tran, the boy and the camel',
    "../../etc/passwd; DROP TABLE tales; {foe} {0} %s \\ <b>",
    "🐫🐑🔥",
    "?",
    "عندار يخدع التاجر الجشع",
    "アルダル・コセと商人",
    "Алдар-Косе ночью украл у бая верблюда и мешок золота",
    "Алдар Косе продаёт старику в красном халате хлеб у реки",
    "Алдар Көсе сараң байдың қазанынан ет жеп, үйінде қонып шықты",
    "Алдар Көсе базарда ханға есек сатты",
    "horse donkey sheep camel dog carpet cauldron coat bread gold",
    "A khan, a merchant, an old man, a woman, a boy and a young man meet Aldar",
    "bazaar, village, yurt, steppe, mountains and a river, by day, at sunset and at night",
    "the merchant " * 142,
    "я" * 2000,
)
PLACES = ("bazaar", "yurts", "inside a yurt", "steppe", "river")
TIMES = tuple(PLAIN.time.values())


def board(text: str, frames: int = 6) -> SceneBreakdown:
    return offline.write(Story(text=text), frames, SDXL)


def picture(scene: Scene) -> tuple[object, ...]:
    return (scene.action, scene.cast, scene.place, scene.time, scene.shot)


def seen(breakdown: SceneBreakdown) -> str:
    return " | ".join(f"{scene.action} {' '.join(scene.things)} {scene.place}" for scene in breakdown.scenes)


@pytest.mark.parametrize("text", STORIES)
def test_every_sentence_becomes_any_number_of_different_scenes(text: str) -> None:
    for frames in range(1, 25):
        breakdown = board(text, frames)
        assert len(breakdown.scenes) == frames
        assert len({picture(scene) for scene in breakdown.scenes}) == frames
        assert len({scene.caption for scene in breakdown.scenes}) == frames


@pytest.mark.parametrize("text", STORIES)
def test_every_board_can_be_painted_and_read(text: str) -> None:
    breakdown = board(text, 12)
    assert breakdown.scenes[0].shot != PLAIN.shot["far"]
    assert sum(scene.shot == PLAIN.shot["far"] for scene in breakdown.scenes) <= 3
    assert {name for scene in breakdown.scenes for name in scene.cast} == {member.name for member in breakdown.cast}
    times = [TIMES.index(scene.time) for scene in breakdown.scenes]
    assert times == sorted(times)
    for scene in breakdown.scenes:
        paired = scene.action.startswith(("is talking to", "is giving", "is bargaining with"))
        assert len(scene.cast) == paired
        assert scene.action.endswith(scene.cast[-1] if paired else "")
        assert sum(thing in PLAIN.animal.values() for thing in scene.things) + ("riding" in scene.action) <= 1
        assert sum(thing in PLAIN.prop.values() for thing in scene.things) + ("giving" in scene.action) <= 1
        assert scene.place != "inside a yurt" or not {"a horse", "a camel", "a donkey"} & set(scene.things)
        assert "{" not in scene.caption.replace("{foe} {0}", "")
        assert scene.caption[0] in "«“" or scene.caption[0].isupper()


@pytest.mark.parametrize("text", STORIES)
def test_half_of_a_board_is_about_the_other_one(text: str) -> None:
    assert 2 <= sum(bool(scene.cast) for scene in board(text, 6).scenes) <= 5


def test_the_same_story_gives_the_same_board() -> None:
    assert [board(text) for text in STORIES] == [board(text) for text in STORIES]


def test_different_stories_give_different_boards() -> None:
    boards = [[(picture(scene), scene.things) for scene in board(text).scenes] for text in STORIES[:5]]
    for index, one in enumerate(boards):
        for other in boards[index + 1 :]:
            assert len(set(one) & set(other)) <= 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Aldar swaps his coat for a merchant's camel", ("a coat full of holes", "a camel", "the merchant")),
        (
            "Aldar, a sheep, a dog and a cauldron in the mountains",
            ("a sheep", "a dog", "a cauldron", "in the mountains"),
        ),
        ("The khan's carpet by the river", ("the khan", "a carpet", "by the river")),
        ("A bazaar, a village, a tent, a field and a lake", tuple(PLAIN.place[p] for p in PLACES)),
        ("Horse, donkey, camel, sheep, dog", ("horse", "donkey", "camel", "sheep", "dog")),
        ("Gold, carpet, soup, rags, bread", ("gold", "a carpet", "a cauldron", "holes", "bread")),
        ("Two brothers, a widow and a judge", ("the young man", "the woman", "the khan")),
        ("Алдар у купца в юрте: ковёр, собака, хлеб", ("the merchant", "inside a yurt", "a carpet", "a dog", "bread")),
        ("Байдың қойы мен түйесі тауда", ("the merchant", "a sheep", "a camel", "in the mountains")),
        ("Шал есегін базарда саудагерге сатты", ("the old man", "a donkey", "bazaar", "the merchant")),
    ],
)
def test_what_a_sentence_names_is_seen(text: str, expected: tuple[str, ...]) -> None:
    shown = seen(board(text, 8))
    assert [name for name in expected if name not in shown] == []


def test_a_named_time_is_when_the_trick_happens() -> None:
    assert PLAIN.time["night"] in [scene.time for scene in board("At midnight, by the bazaar", 6).scenes[:5]]
    assert {scene.time for scene in board("В полдень на базаре купец продаёт ковёр", 3).scenes[:2]} == {"by day"}


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("Aldar meets a merchant in a red robe with a turban", "a merchant in a red robe and a turban"),
        ("Алдар встретил старика в синем халате и тюбетейке", "an old man in a blue robe and a skullcap"),
        ("Алдар жасыл шапан киген ханды көрді, тәжі бар", "a khan in a green robe and a crown"),
    ],
)
def test_named_clothes_are_worn(text: str, description: str) -> None:
    assert board(text).cast[0].description == description


def test_everybody_is_dressed_differently() -> None:
    descriptions = [member.description for member in board("the khan, a merchant, a woman and a boy", 8).cast]
    assert len(descriptions) == 4
    assert len({text.split(" in ")[1].split(" and ")[0] for text in descriptions}) == 4


@pytest.mark.parametrize("text", ["Aldar", "Aldar Köse", "aldar kose's tale", "Алдар-Косе", "Алдар Көсенің"])
def test_the_hero_is_never_in_the_cast(text: str) -> None:
    named = read(text)
    assert (named.people, named.animals, named.props) == ((), (), ())
    assert all("aldar" not in member.name.casefold() for member in board(text).cast)


@pytest.mark.parametrize(
    ("text", "attribute", "concepts"),
    [
        ("атасы айтты, атақты сағат", "animals", []),
        ("a cowboy and his grandson", "people", []),
        ("Алдар Көсе атты қу", "animals", []),
        ("хан атты алды", "animals", ["horse"]),
        ("ол айтып қойды", "animals", []),
        ("қойды сойды", "animals", []),
        ("байдың иті", "animals", ["dog"]),
        ("степень рекорда", "places", []),
        ("его супруга", "props", []),
        ("assets, boycott, kingdom, potato, goldfish", "people", []),
        ("assets, boycott, kingdom, potato, goldfish", "props", []),
        ("an old woman", "people", ["woman"]),
        ("the traders' money", "people", ["merchant"]),
    ],
)
def test_words_do_not_fire_inside_other_words(text: str, attribute: str, concepts: list[str]) -> None:
    assert [found.concept for found in getattr(read(text), attribute)] == concepts


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Aldar and the khan", "en"),
        ("Алдар Көсе и жадный бай", "ru"),
        ("Алдар Косе обманул хана", "ru"),
        ("Алдар байдан алтын алды", "kk"),
        ("Алдар Көсе мен хан", "kk"),
        ("Алдар Көсе", "kk"),
        ("アルダル", "en"),
    ],
)
def test_captions_are_in_the_language_of_the_story(text: str, code: str) -> None:
    assert read(text).language.code == code


def test_kazakh_nouns_follow_vowel_harmony() -> None:
    khan, trader, child = kazakh_noun("хан"), kazakh_noun("көпес"), kazakh_noun("бала")
    assert (khan.gen, khan.dat, khan.acc, khan.abl, khan.ins) == ("ханның", "ханға", "ханды", "ханнан", "ханмен")
    assert (trader.gen, trader.dat, trader.acc, trader.ins) == ("көпестің", "көпеске", "көпесті", "көпеспен")
    assert (child.gen, child.dat, child.acc, child.abl) == ("баланың", "балаға", "баланы", "баладан")
    assert kazakh_noun("тау").gen == "таудың"


def test_russian_nouns_are_declined() -> None:
    horse = russian_noun("кон:ь я ю я ём е")
    assert (horse.nom, horse.gen, horse.acc, horse.ins, horse.loc) == ("конь", "коня", "коня", "конём", "коне")


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_every_language_can_tell_every_moment_of_every_tale(language: object) -> None:
    from models.language.grammar import Language

    assert isinstance(language, Language)
    beats = [beat for shape in SHAPES for beat in shape.beats] + [*OPENINGS, *TURNS, *ENDINGS, *MEETINGS]
    assert set(language.captions) == {beat.key for beat in beats}
    for attribute in ("people", "animals", "props", "places", "times", "hats", "colours"):
        assert set(getattr(language, attribute)) == set(getattr(LANGUAGES["en"], attribute))
    assert set(language.cues) == {shape.name for shape in SHAPES}
    nouns = [language.noun(lexeme) for kinds in language.people.values() for lexeme in lexemes(kinds)]
    nouns += [language.noun(lexeme) for kinds in language.animals.values() for lexeme in lexemes(kinds)]
    assert all(str(noun).replace(" ", "").isalpha() for noun in nouns)


def test_every_shape_is_told_for_some_story() -> None:
    stories = [
        "cold winter",
        "sell a carpet",
        "a race",
        "a feast",
        "plant gold",
        "asleep",
        "borrow",
        "a riddle",
        "help",
    ]
    first = [board(f"Aldar: {text}").scenes[0].caption for text in stories]
    assert len(set(first)) == len(SHAPES) == len(stories)


def small_world(folder: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """Lets the steppe profile read its words from this content."""
    file = folder / "vocabulary.json"
    file.write_text(content, encoding="utf-8")
    steppe = PROFILES["steppe"].model_copy(update={"vocabulary": str(file)})
    monkeypatch.setitem(PROFILES, "steppe", steppe)


def test_the_words_are_those_of_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = PLAIN.model_copy(update={"place": {name: f"at <{name}>" for name in PLAIN.place}})
    small_world(tmp_path, monkeypatch, words.model_dump_json())
    options = StoryboardOptions(frames=4)
    profile = options.get_profile()
    written = write_scenes(Story(text=STORIES[0]), options, profile, Keys(openai_api_key=None))
    assert written.writer == writer_versions(options, profile)[0] == f"offline/{offline.VERSION}"
    assert all(scene.place.startswith("at <") for scene in written.scenes)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "vocabulary.json"),
        ("{}", "kind"),
        ('{"kind": 3}', "kind"),
        (PLAIN.model_copy(update={"shot": {"near": "near shot"}}).model_dump_json(), "shot 'middle'"),
    ],
)
def test_a_broken_vocabulary_is_named_in_one_line(
    content: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_world(tmp_path, monkeypatch, content)
    with pytest.raises(WeightsInvalid, match=named) as caught:
        offline.write(Story(text=STORIES[0]), 6, PROFILES["steppe"])
    assert "\n" not in str(caught.value)


def test_a_missing_vocabulary_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_world(tmp_path, monkeypatch, "{}")
    (tmp_path / "vocabulary.json").unlink()
    with pytest.raises(WeightsInvalid, match="No such file"):
        offline.write(Story(text=STORIES[0]), 6, PROFILES["steppe"])


def test_the_plain_words_are_the_words_of_the_pretraining() -> None:
    from steppe.captions import WORDINGS

    canonical = {name: {key: words[0] for key, words in WORDINGS[name].items()} for name in Vocabulary.model_fields}
    assert Vocabulary.model_validate(canonical).model_dump() == PLAIN.model_dump()
