"""What is shown of an address that holds a password."""

from __future__ import annotations

import pytest

from models.secrets.addresses import without_credentials


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("http://joe:hunter2@localhost:8000/v1", "http://localhost:8000/v1"),
        ("http://hunter2@localhost:8000/v1", "http://localhost:8000/v1"),
        ("http://joe:hun@ter2@localhost", "http://localhost"),
        ("http://joe:hun/ter2@localhost:80/v1", "http://localhost:80/v1"),
        ("http://joe:hun?ter2@localhost:80/v1", "http://localhost:80/v1"),
        ("http://joe:hun#ter2@localhost", "http://localhost"),
        ("http://joe:hunter2@[::1]:9/v1", "http://[::1]:9/v1"),
        ("http://[::1]:9/users/@me", "http://[::1]:9/users/@me"),
        ("http://localhost:8000/users/@me", "http://localhost:8000/users/@me"),
        ("https://studio.example/v1?api_key=hunter2", "https://studio.example/v1"),
        ("https://studio.example/v1#hunter2", "https://studio.example/v1"),
        ("socks5://joe:hunter2@proxy.example:1080", "socks5://proxy.example:1080"),
        ("postgresql+asyncpg://joe:hunter2@db/prefect", "postgresql+asyncpg://db/prefect"),
        ("joe:hunter2@studio", "studio"),
        ("ftp//joe:hunter2@studio", "ftp//studio"),
        (" http://joe:hunter2@studio\n", "http://studio"),
        ("s3://joe:hunter2@studio/aldar", "s3://studio/aldar"),
        ("studio:9000", "studio:9000"),
        ("http://[broken", "http://[broken"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_its_credentials(address: str, shown: str) -> None:
    assert without_credentials(address) == shown
