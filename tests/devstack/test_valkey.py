"""Valkey as the devstack runs it."""

from pathlib import Path

import pytest
from redis import Redis

from devstack.faults import CannotStart
from devstack.ports import choose
from devstack.valkey import Valkey
from tests.support.servers import running


@pytest.fixture
def server(tmp_path: Path) -> Valkey:
    return Valkey(data=tmp_path / "valkey", port=choose("127.0.0.1"))


def test_it_refuses_writes_rather_than_dropping_keys_and_is_here_only(server: Valkey, tmp_path: Path) -> None:
    with running(server, tmp_path / "log"), Redis.from_url(server.url, decode_responses=True) as client:
        wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes", "bind": "127.0.0.1"}
        assert client.config_get(*wanted) == wanted


def test_what_was_acknowledged_survives_a_kill(server: Valkey, tmp_path: Path) -> None:
    with running(server, tmp_path / "log") as process:
        assert server.call("SET", "kept", "1") == "+OK"
        process.kill()
        process.wait()
    with running(server, tmp_path / "log"):
        assert server.call("GET", "kept") == "$1"


def test_for_tests_it_keeps_nothing(tmp_path: Path) -> None:
    server = Valkey(data=tmp_path / "valkey", port=choose("127.0.0.1"), fast=True)
    with running(server, tmp_path / "log"):
        assert server.call("SET", "kept", "1") == "+OK"
    assert list(server.data.iterdir()) == []


def test_a_server_that_is_not_there_is_not_ready(server: Valkey) -> None:
    assert not server.is_ready()


def test_data_that_it_cannot_read_ends_it_with_a_line_that_says_so(server: Valkey, tmp_path: Path) -> None:
    with running(server, tmp_path / "log"):
        assert server.call("SET", "kept", "1") == "+OK"
    written = next((server.data / "appendonlydir").glob("*.incr.aof"))
    written.write_bytes(b"*2\r\n$4\r\nnonsense\r\n" + written.read_bytes())
    with pytest.raises(AssertionError, match="Bad file format"), running(server, tmp_path / "log"):
        pass
    assert str(server.data) in server.advice


def test_a_place_that_cannot_hold_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match="cannot be made"):
        Valkey(data=tmp_path / "file" / "valkey", port=1).prepare()
    assert (tmp_path / "file").is_file()
