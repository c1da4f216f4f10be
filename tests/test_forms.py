"""The forms of all deployments: what they send untouched counts as unset, and what people may send besides."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from form_payloads import untouched
from prefect.flows import Flow
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import ValidationError as PrefectValidationError
from prefect.utilities.schema_tools.validation import is_valid, validate
from pydantic import ValidationError
from test_deployments import DECLARED, NEEDED, flow_of, name_of
from test_settings import TOGETHER

from flows.storyboard import storyboard
from flows.training import train_lora
from models.errors import InputError
from models.forms.calibration import FORM as CALIBRATION
from models.forms.edited import FORM as EDIT
from models.forms.export import FORM as EXPORT
from models.forms.form import Form, value_schema
from models.forms.redo import FORM as REDO
from models.forms.storyboard import FORM as STORYBOARD
from models.forms.training import FORM as TRAINING
from models.lora.configuration.config_files import training_options
from models.profiles import ROOT
from models.settings import StoryboardOptions, with_environment

FORMS = {
    "storyboard": STORYBOARD,
    "storybook": STORYBOARD,
    "train-lora": TRAINING,
    "redo-frame": REDO,
    "export-board": EXPORT,
    "edit-board": EDIT,
    "calibrate-hero": CALIBRATION,
    "screenplay": STORYBOARD,
}
STORY = "Aldar Köse outwits the khan"
each = pytest.mark.parametrize("declared", DECLARED, ids=name_of)
each_form = pytest.mark.parametrize(
    "form", [STORYBOARD, TRAINING, REDO, EXPORT, CALIBRATION], ids=lambda form: form.record.__name__
)


@cache
def _schema_of(fn: Callable[..., Any]) -> dict[str, Any]:
    return parameter_schema(fn).model_dump()


def schema_of(flow: Flow[..., Any]) -> dict[str, Any]:
    """What a server keeps of the flow, and forms are made from."""
    return _schema_of(flow.fn)


def taken(flow: Flow[..., Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """The flow's parameters, after all that a deployment's run goes through."""
    validate(parameters, schema_of(flow), raise_on_error=True)
    return flow.validate_parameters(parameters)


@pytest.mark.parametrize("first_ui", [True, False], ids=["first UI", "second UI"])
@each
def test_an_untouched_form_sets_what_the_deployment_sets_and_nothing_else(
    declared: dict[str, Any], first_ui: bool
) -> None:
    flow, own = flow_of(declared), declared.get("parameters", {})
    schema = schema_of(flow)
    sent = untouched(schema, own, first_ui=first_ui)
    sent |= {name: value for name, value in NEEDED.items() if name in schema["required"]}
    options = taken(flow, sent)["options"]
    assert options.model_dump(exclude_unset=True) == own.get("options", {})


def test_the_environment_wins_over_an_untouched_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORYBOARD_FRAMES", "3")
    Path(".env").write_text("STORYBOARD_REFRESH=true\nSTORYBOARD_STEPS=9\n")
    sent = {"story": STORY, **untouched(schema_of(storyboard), {}, first_ui=True)}
    options = with_environment(taken(storyboard, sent)["options"])
    assert (options.frames, options.refresh, options.steps) == (3, True, 9)


def test_the_configuration_file_wins_over_an_untouched_form() -> None:
    sent = untouched(schema_of(train_lora), {"config": "configs/training_steppe.yaml"}, first_ui=True)
    given = taken(train_lora, sent)
    chosen = training_options(given["options"].model_dump(exclude_unset=True), ROOT / given["config"])
    assert (chosen.profile, chosen.learning_rate, chosen.min_snr_gamma) == ("steppe", 2e-3, 1)


@pytest.mark.parametrize("unset", [None, "auto"])
def test_null_and_auto_win_over_nothing(unset: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("steps", "device", "low_memory", "attempts"):
        monkeypatch.setenv(f"STORYBOARD_{name.upper()}", {"device": "cpu", "low_memory": "yes"}.get(name, "4"))
        options = taken(storyboard, {"story": STORY, "options": {name: unset}})["options"]
        assert getattr(with_environment(options), name) in (4, "cpu", True), name
    assert "max_train_steps" not in TRAINING.lift({"max_train_steps": unset})


def test_null_in_a_record_wins_over_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORYBOARD_STEPS", "4")
    assert with_environment(StoryboardOptions(steps=None)).steps == 4


@each_form
def test_a_form_pre_fills_nothing_and_every_field_is_one_that_both_uis_draw(form: Form) -> None:
    schema = form.schema()
    fields = {name: field for name, field in schema["properties"].items() if field["type"] != "object"}
    groups = {name: field["properties"] for name, field in schema["properties"].items() if name not in fields}
    inside = {name: field for group in groups.values() for name, field in group.items()}
    assert fields.keys() | inside.keys() == form.options.keys()
    assert not fields.keys() & inside.keys()
    assert not groups.keys() & form.options.keys()
    for field in (*fields.values(), *inside.values()):
        assert "default" not in field
        assert field["type"] in ("string", "integer", "number", "array")
        assert field["title"]
        assert len(field["description"]) > 20
    # A switch may be true or false by its own name, which only those in a group can also be.
    assert not {name for name in fields if "boolean" in str(form.options[name].get("type", ""))}


def test_people_find_first_what_they_set() -> None:
    schema = schema_of(storyboard)
    assert list(schema["properties"]) == ["story", "options"]
    first = ["profile", "frames", "seed", "writer", "review", "export", "lora_path", "output_dir"]
    groups = ["writing", "painting", "gate", "control", "models", "machine"]
    assert list(schema["properties"]["options"]["properties"]) == first + groups


def test_a_groups_values_land_in_the_flat_record() -> None:
    grouped = {"painting": {"steps": 30, "refresh": "yes"}, "control": {"sketches": ["2=a=b.png"]}, "gate": None}
    options = taken(storyboard, {"story": STORY, "options": {"frames": 2, **grouped, "machine": {}}})["options"]
    expected = {"frames": 2, "steps": 30, "refresh": True, "sketches": {2: "a=b.png"}}
    assert options.model_dump(exclude_unset=True) == expected


ADDRESSES = ("s3://joe:Pw4/9@bucket/aldar", "https://Pw49@studio/x", "a://b:c@d")
PLAIN = ("s3://bucket/aldar@2:1", "owner/name@v2", "C:/joe@studio/x", "joe:x@y", "s3://bucket/a:b@c")


@each_form
def test_no_text_may_hold_a_password(form: Form) -> None:
    for name, schema in form.options.items():
        value = value_schema(schema)
        listed = value["type"] == "array" and value["items"]["type"] == "string"
        limits = value.keys() | (value["items"].keys() if listed else set())
        if not (listed or value["type"] == "string") or {"enum", "pattern"} & limits:
            continue
        for address in ADDRESSES:
            given: dict[str, Any] = {name: [address] * 2 if listed else address}
            for sent in (given, *({group.key: given} for group in form.groups if group.key and name in group.options)):
                assert not is_valid(sent, form.schema()), (name, address)
            with pytest.raises(ValidationError, match=r"holds a user or a password|valid target modules"):
                form.record.model_validate(given)


@pytest.mark.parametrize("source", PLAIN)
def test_what_only_resembles_a_password_may_be_given(source: str) -> None:
    for given in ({"lora_path": source}, {"painting": {"more_loras": [source]}}):
        taken(storyboard, {"story": STORY, "options": given})


def test_a_password_in_a_variable_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORYBOARD_LORA_PATH", "s3://joe:Xw4tQz99@bucket/aldar")
    with pytest.raises(InputError, match="STORYBOARD_LORA_PATH in the environment: holds a user or a password") as no:
        with_environment(StoryboardOptions())
    assert "Xw4tQz99" not in str(no.value)


@each_form
def test_every_option_may_be_given_by_its_own_name(form: Form) -> None:
    flow = next(flow_of(one) for one in DECLARED if FORMS[flow_of(one).name] is form)
    needed = {name: value for name, value in NEEDED.items() if name in flow.parameters.properties}
    given = {name: value for name, value in form.record().model_dump(mode="json").items() if value is not None}
    options = taken(flow, {**needed, "options": given})["options"]
    assert options.model_dump(mode="json", exclude_unset=True) == given


def test_the_story_is_one_of_the_right_length() -> None:
    story = schema_of(storyboard)["properties"]["story"]
    assert (story["minLength"], story["maxLength"]) == (1, 2000)
    assert "in any language" in story["description"]
    assert not is_valid({"story": ""}, schema_of(storyboard))


def test_a_value_of_every_option_is_taken_in_its_place_in_the_form_and_by_its_name() -> None:
    lists = {name: list(TOGETHER[name]) for name in ("more_loras", "export")}
    named = {**TOGETHER, "sketches": ["2=camel.png"], **lists}
    shown = {**named, "refresh": "yes", "low_memory": "yes"}
    placed = [
        ({group.key: one} if group.key else one)
        for group in STORYBOARD.groups
        for one in [{name: shown[name] for name in group.options if name in shown}]
    ]
    form = {name: value for part in placed for name, value in part.items()}
    for options in (form, named):
        found = taken(storyboard, {"story": STORY, "options": options})["options"]
        assert found == StoryboardOptions.model_validate(TOGETHER)


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": 25},
        {"profile": "stepe"},
        {"width": 65, "height": 64},
        {"painting": {"width": 65}},
        {"aspect": "5:7"},
        {"size": 64},
        {"painting": {"frames": 2}},
        {"device": "gpu"},
        {"steps": "many"},
        {"frame": 3},
        {"machines": {}},
        {"control": {"sketches": ["a.png"]}},
        {"low_memory": "perhaps"},
    ],
)
def test_what_is_wrong_is_refused_before_there_is_a_run(wrong: dict[str, Any]) -> None:
    assert not is_valid({"story": STORY, "options": wrong}, schema_of(storyboard))


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    with pytest.raises(
        PrefectValidationError, match=r"'options'. Failure reason: 'farmes' is not one of \['profile', 'f"
    ):
        taken(storyboard, {"story": STORY, "options": {"farmes": 2}})


def test_an_option_that_is_given_twice_is_named() -> None:
    assert STORYBOARD.lift({"steps": 3, "painting": {"steps": 3}}) == {"steps": 3}
    with pytest.raises(ValueError, match=r"^steps is given twice, 3 and 4; keep one$"):
        STORYBOARD.lift({"steps": 3, "painting": {"steps": 4}})


def test_auto_is_a_name_where_any_text_is() -> None:
    assert TRAINING.lift({"name": "auto", "device": "auto"}) == {"name": "auto"}


def test_none_unsets_what_is_set_otherwise() -> None:
    assert TRAINING.lift({"max_train_steps": "none", "trigger": "none"}) == {"max_train_steps": None, "trigger": "none"}


def test_unknown_names_are_refused_by_the_record() -> None:
    with pytest.raises(ValidationError, match="frame"):
        StoryboardOptions.model_validate(STORYBOARD.lift({"frame": 3}))
