"""The storyboard flow with a certificate: signed pictures, a key that nobody reads, no painting with a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest
from certificates import key_pem, make_chain, new_key
from flow_runs import Stage
from test_signing import CERTIFICATE, KEY

from models.errors import ChecksFailed


def test_a_run_signs_its_pictures_and_tells_nobody_the_key(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chain = make_chain(tmp_path / "own")
    monkeypatch.setenv(CERTIFICATE, str(chain.certificate))
    monkeypatch.setenv(KEY, str(chain.key))
    ran = stage.run(frames=2)
    for frame in ran.report.frames:
        assert chain.read(ran.board / frame.file).get_validation_state() == "Trusted"
    told = [caplog.text, ran.flow_run().model_dump_json(), *(str(each.data) for each in ran.artifacts().values())]
    told += [file.read_bytes().decode("latin-1") for file in stage.output.rglob("*") if file.is_file()]
    lines = chain.key.read_text().splitlines()[1:-1]
    assert not [line for line in lines for text in told if line in text]

    again = stage.run(frames=2)
    assert again.painted == [0, 0]
    assert again.pictures == ran.pictures


def test_a_wrong_key_is_told_before_anything_is_painted(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = make_chain(tmp_path / "own")
    chain.key.write_bytes(key_pem(new_key()))
    monkeypatch.setenv(CERTIFICATE, str(chain.certificate))
    monkeypatch.setenv(KEY, str(chain.key))
    ran = stage.run(frames=1)
    error = ran.state.result(raise_on_failure=False)
    assert isinstance(error, ChecksFailed)
    assert f"{KEY} '{chain.key}' is not the key of the first certificate" in str(error)
    assert (stage.boards(), stage.entries()) == ([], [])
