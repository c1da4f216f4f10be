"""How a run shows itself in lists and logs: its name, why a frame is weak, and a failure that is said once."""

from __future__ import annotations

import logging

import pytest
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from test_board import result

from flows.logs import ENGINE_LOGGER, prepare_logs
from flows.outcome import run_name
from models.errors import InputError


@pytest.mark.parametrize("typed", ["Sunday's tale", "the khan", "khan", "two-word name", "тесік тон", "a-b-c-d"])
def test_a_name_that_was_typed_is_kept(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__NAME", typed)
    assert run_name("Aldar outwits the khan") == typed


@pytest.mark.parametrize("generated", ["bold-otter", "rho92-alnasl-mass", "Small-Hyena", ""])
def test_a_generated_name_is_not(generated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__NAME", generated)
    assert run_name("Aldar outwits the khan") == "Aldar outwits the khan"


def test_a_weak_frame_is_told_with_the_reasons_of_the_picture_that_was_kept() -> None:
    weak = result(2, 0.45, 0.31, accepted=False)
    kept = weak.candidates[0]
    assert weak.model_copy(update={"sha256": kept.sha256}).chosen.reasons == ("image similarity 0.45 is under 0.5",)


@pytest.mark.parametrize(("error", "told"), [(InputError("x"), False), (KeyError("x"), True)])
def test_the_engine_says_nothing_more_of_an_own_error(
    error: Exception, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    prepare_logs()
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: False}):  # no run is at work whose log it would be
        for name in ("prefect.flow_runs", ENGINE_LOGGER):
            caplog.clear()
            logging.getLogger(name).addHandler(caplog.handler)
            try:
                logging.getLogger(name).error("Engine execution exited with unexpected exception", exc_info=error)
            finally:
                logging.getLogger(name).removeHandler(caplog.handler)
            assert bool(caplog.records) is told


def test_requests_are_not_told() -> None:
    prepare_logs()
    assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
