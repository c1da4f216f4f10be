"""Missing and broken packages stop a run; of versions that were never tried the log warns."""

from __future__ import annotations

import pytest

from models.preflight import checks


def test_missing_and_broken_packages_stop_and_of_others_the_log_warns(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = [
        "pillow>=13,<14",
        "numpy>=99",
        "pydantic>=99",
        "aldars-coat>=1",
        "moto>=99; extra == 'dev'",
        "numpy>=98; python_version<'3'",
    ]
    monkeypatch.setattr(checks, "declared", lambda: (">=4", asked))
    monkeypatch.setitem(checks.BROKEN, "pydantic", "<9")
    for _ in range(2):
        python, pydantic, coat = checks.find_package_problems()
    assert python.endswith("is outside >=4: install another one, then pip install -e .")
    assert pydantic.startswith("pydantic 2.")
    assert pydantic.endswith("does not work here, pydantic>=99 is needed: pip install -e .")
    assert coat == "aldars-coat is missing, aldars-coat>=1 is needed: pip install -e ."
    [warned] = caplog.messages
    assert warned.startswith("numpy 2.")
    assert warned.endswith("is installed but untested: if something fails, install numpy>=99")


def test_what_the_project_asks_for_is_found_installed_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = checks.declared()
    monkeypatch.setattr(checks, "DISTRIBUTION", "no-such-distribution")
    python, packages = checks.declared()
    assert python == installed[0] == ">=3.11"
    assert {name.split(">")[0] for name in packages} == {
        name.split("<")[0].split(">")[0] for name in installed[1] if "extra" not in name
    }
