"""Commands as an operator meets them: one line and an exit code."""

import pytest

from billing_api.__main__ import main
from tests.support.environment import environment
from tests.support.servers import DatabaseUrls


def test_a_database_that_is_away_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = "postgresql://np_api:password@127.0.0.1:1/nowhere"
    for name, value in environment(DatabaseUrls(nowhere, nowhere, nowhere), redis_url="redis://127.0.0.1:1").items():
        monkeypatch.setenv(name, value)
    assert main(["seed"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith("billing_api seed: the database does not answer: ")
    assert "password" not in told[0]


@pytest.mark.parametrize("name", ["", "two\nlines", "x" * 101, "\u202egnp"])
def test_a_platform_key_has_a_name_that_lists_can_show(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = "postgresql://np_api:password@127.0.0.1:1/nowhere"
    for each, value in environment(DatabaseUrls(nowhere, nowhere, nowhere), redis_url="redis://127.0.0.1:1").items():
        monkeypatch.setenv(each, value)
    assert main(["create-platform-key", "--name", name]) == 1
    assert "--name must be one line" in capsys.readouterr().err
