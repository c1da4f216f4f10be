"""The filter: it finds a secret in whatever form text has, and leaves text alone that holds none."""

from __future__ import annotations

import base64
import html
import json
import logging
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

from models.errors import ChecksFailed, StoryboardError, WriterUnavailable
from models.secrets import redaction
from models.secrets.keys import Keys, find_key_problem, learn_environment
from models.secrets.redaction import learn, learn_all, redact

ROOT = Path(__file__).resolve().parent.parent
KEY = "sk-canary-Wm4tQz81"
SECRETS = [
    KEY,
    f"{KEY}\n",
    "Wm4tQz82+/=&?",
    'canary\'s "Wm4tQz83" \\ two words',
    "canary-Wm4tQz84-ключ",
    "cänary-Wm4tQz85\r\nX-Second: line",
]
ORDINARY = [
    "Aldar Köse outwits the khan for the price of a camel: any, none and EMPTY are no keys",
    "the openai writer needs a key: Set OPENAI_API_KEY in .env, or use --writer offline",
    "Authorization: who may ride, said the bai, basic manners",
    "http://localhost:8000/users/@me, someone@studio.example",
    "not Aldar's, an ollama of lm-studio",
]


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_SECRETS", redaction._Secrets())


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_hidden_in_every_form(secret: str) -> None:
    learn(secret)
    stripped = secret.strip()
    forms = {
        "raw": stripped,
        "with what a file adds": secret,
        "repr": repr(secret),
        "repr in a repr": repr([repr(secret)]),
        "ascii": ascii(secret),
        "a header": repr(f"Bearer {secret}".encode()),
        "JSON": json.dumps({"key": secret}),
        "JSON in JSON": json.dumps(json.dumps({"key": secret})),
        "quoted": urllib.parse.quote(stripped),
        "quoted whole": urllib.parse.quote(secret, safe=""),
        "in a form": urllib.parse.urlencode({"key": secret}),
        "HTML": html.escape(secret),
        **{f"base64 at {n}": base64.b64encode(b"u:"[:n] + secret.encode() + b"!").decode() for n in range(3)},
        "base64 for addresses": base64.urlsafe_b64encode(f"user:{secret}".encode()).decode(),
    }
    for name, text in forms.items():
        shown = redact(f"before {text} after")
        assert "***" in shown, name
        assert shown.startswith("before"), name
        assert "Wm4tQz8" not in shown, name
        for part in ("Wm4tQz8", stripped):
            middle = base64.b64encode(part.encode()).decode()[4:-4]
            assert not middle or middle not in shown, name


@pytest.mark.parametrize("value", [None, "", " ", "any", "EMPTY", "none", "ollama", "lm-studio", "camel", "hunter2"])
def test_what_is_no_secret_hides_no_ordinary_text(value: str | None) -> None:
    learn(value)
    learn_all({"OPENAI_API_KEY": value, "HTTP_PROXY": "http://proxy.example:8080", "HOME": "/home/aldar"})
    for text in ORDINARY:
        assert redact(text) == text


def test_variables_that_are_named_like_secrets_are_learnt() -> None:
    learn_all(
        {
            "HF_TOKEN": "hf_Wm4tQz81",
            "PREFECT_API_AUTH_STRING": "joe:Wm4tQz82",
            "WANDB_API_KEY": "Wm4tQz83",
            "HTTPS_PROXY": "http://joe:Wm4tQz%2F84@proxy.example",
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://joe:Wm4tQz85@db.example/prefect",
            "OPENAI_BASE_URL": "https://studio.example/v1?api-version=2026-01-01-preview&api-key=Wm4tQz86",
            "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X-Studio-Key": "Wm4tQz87Wm4tQz87"}',
            "STORYBOARD_PROFILE": "steppe",
        }
    )
    text = "hf_Wm4tQz81 Wm4tQz82 joe:Wm4tQz82 Wm4tQz83 Wm4tQz%2F84 Wm4tQz/84 Wm4tQz85 Wm4tQz86 Wm4tQz87Wm4tQz87"
    assert redact(text) == " ".join(["***"] * 9)
    assert redact("steppe 2026-01-01-preview X-Studio-Key") == "steppe 2026-01-01-preview X-Studio-Key"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Invalid endpoint: http://joe:pw@studio/aldar", "Invalid endpoint: http://***@studio/aldar"),
        ("socks5://joe:p@ss@studio:1080 failed", "socks5://***@studio:1080 failed"),
        ("{'Authorization': 'Bearer abc'}", "{'Authorization': 'Bearer ***'}"),
        ("[(b'authorization', b'Basic am9l')]", "[(b'authorization', b'Basic ***')]"),
        ("> Authorization: Bearer abc", "> Authorization: Bearer ***"),
        ("https://b.s3/k?X-Amz-Signature=0af1&x=2", "https://b.s3/k?X-Amz-Signature=***&x=2"),
    ],
)
def test_what_is_a_secret_by_its_place_is_hidden_unlearnt(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_an_error_that_is_kept_holds_no_secret() -> None:
    learn(KEY)
    plain = ValueError("a camel")
    assert redaction.without_secrets(plain) is plain
    with_notes = ValueError("a camel")
    with_notes.add_note(KEY)
    odd = subprocess.CalledProcessError(1, ["steppe", "--key", KEY])
    for error in (ValueError(KEY), KeyError(KEY), with_notes, odd, ExceptionGroup("two", [OSError(13, "no", KEY)])):
        kept = redaction.without_secrets(error)
        assert KEY not in repr([kept, str(kept), vars(kept)])
        assert str(kept).startswith(type(error).__name__)


def test_errors_hold_no_secret_from_the_beginning() -> None:
    learn(KEY)
    assert str(StoryboardError(f"refused: {KEY}")) == "refused: ***"
    assert str(WriterUnavailable(f"busy: {KEY}", retry_after=1)) == "busy: ***"
    failed = ChecksFailed([f"no {KEY}", "no disk"])
    assert (failed.problems, str(failed)) == (("no ***", "no disk"), "no ***; no disk")


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (f" {KEY}\r\n", KEY),
        (f'"{KEY}"', KEY),
        (f"'{KEY}'\n", KEY),
        (f'" {KEY} "', KEY),
        ('"', '"'),
        (" \n", None),
        ('""', None),
    ],
)
def test_a_key_is_read_without_what_stands_around_it(given: str, read: str | None) -> None:
    assert Keys(openai_api_key=given).reveal("openai_api_key") == read
    assert Keys(openai_base_url=given).openai_base_url == read


@pytest.mark.parametrize(
    ("key", "position"), [(f"{KEY}\n{KEY}", 19), ("sk-кey", 4), ("sk key", 3), ("sk\x00-1", 3), ("“sk-1”", 1)]
)
def test_a_key_that_no_header_may_hold_is_named_and_not_shown(key: str, position: int) -> None:
    problem = find_key_problem(Keys(openai_api_key=key), ["openai_api_key"])
    assert problem == f"OPENAI_API_KEY holds a character that no key has, at position {position}: copy the key anew"


def test_keys_that_can_be_sent_are_no_problem() -> None:
    assert find_key_problem(Keys(openai_api_key=KEY), ["openai_api_key", "aws_secret_access_key"]) is None


def test_nothing_that_a_process_prints_holds_its_secrets() -> None:
    """Logs with and without arguments, tracebacks, warnings and what libraries print, in a process of its own."""
    code = """
import logging, os, sys, warnings
from models.secrets import redaction
from models.secrets.keys import learn_environment
learn_environment(); redaction.install(); redaction.install()
key, log = os.environ["OPENAI_API_KEY"], logging.getLogger("aldar")
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
log.error("plain " + key); log.error("one %s", key); log.error("two %r and %s", {"key": key}, 2)
log.error("odd %d", key)
try:
    raise ValueError(f"caught {key}") from KeyError(key)
except ValueError:
    log.exception("told")
log.error("a camel"); warnings.warn(f"warned of {key}"); print(f"printed {key}")
raise RuntimeError(f"uncaught {key}")
"""
    environment = {"OPENAI_API_KEY": KEY, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    told = ended.stdout + ended.stderr
    assert KEY not in told
    for line in ("plain ***", "one ***", "two {'key': '***'} and 2", "a camel", "printed ***"):
        assert line in ended.stdout
    for line in ("ValueError: caught ***", "KeyError: '***'"):
        assert line in ended.stdout
    for line in ("UserWarning: warned of ***", "RuntimeError: uncaught ***"):
        assert line in ended.stderr
    assert "Logging error" not in told


def test_a_record_that_holds_no_secret_is_left_as_it_is() -> None:
    learn(KEY)
    made = redaction.redacting(logging.LogRecord)("aldar", 20, "file.py", 1, "%s camels, %r", (2, "a yurt"), None)
    assert (made.msg, made.args) == ("%s camels, %r", (2, "a yurt"))


def test_keys_in_the_files_of_aws_and_the_hub_are_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials, token = tmp_path / "credentials", tmp_path / "hub" / "token"
    credentials.write_text(
        "[default]\naws_access_key_id = AKIACANARY8Wq7\naws_secret_access_key = a/Canary%9Wq7\n[other]\n"
        "aws_session_token = Canary10Wq7==\nregion = eu-central-1\n"
    )
    token.parent.mkdir()
    token.write_text("hf_Canary11Wq7\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("HF_HOME", str(token.parent))
    learn_environment()
    told = redact("AKIACANARY8Wq7 a/Canary%9Wq7 Canary10Wq7== hf_Canary11Wq7 eu-central-1")
    assert told == "*** *** *** *** eu-central-1"


@pytest.mark.parametrize("content", [b"no ini", b"[default\nx", b"\xff\xfe", b""])
def test_files_that_cannot_be_read_are_left_to_who_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    (tmp_path / "token").write_bytes(content)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    learn_environment()
    assert redact("a tale of Aldar Köse") == "a tale of Aldar Köse"
