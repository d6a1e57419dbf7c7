"""Ports: named ones must be free, others are chosen once."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.faults import CannotStart
from devstack.ports import _keep, allot, choose, is_free
from devstack.waiting import wait_until
from tests.support.servers import ROOT

HOST = "127.0.0.1"
CHOOSES_AND_WAITS = f"""
import sys
from devstack.ports import choose
print(choose({HOST!r}), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.create_server((HOST, choose(HOST))) as listener:
        yield listener.getsockname()[1]


def test_ports_without_a_name_are_the_same_after_a_restart(tmp_path: Path) -> None:
    wanted = {"valkey": 1, "postgres": 1, "validator_metrics": 3}
    first = allot(wanted, {}, tmp_path / "ports", host=HOST)
    assert allot(wanted, {}, tmp_path / "ports", host=HOST) == first


def test_a_remembered_port_that_somebody_took_meanwhile_is_given_up(tmp_path: Path, taken: int) -> None:
    (tmp_path / "ports").write_text(f'{{"valkey": {taken}}}')
    ports = allot({"valkey": 1}, {}, tmp_path / "ports", host=HOST)
    assert ports["valkey"] != taken
    assert is_free(HOST, ports["valkey"])


@pytest.mark.parametrize("content", ["", "[]", '{"valkey": "x"}', '{"valkey": 1}'])
def test_a_spoilt_memory_is_no_reason_to_fail(tmp_path: Path, content: str) -> None:
    (tmp_path / "ports").write_text(content)
    assert 20_000 <= allot({"valkey": 1}, {}, tmp_path / "ports", host=HOST)["valkey"] < 30_000


def test_ports_in_a_row_overlap_nobody(tmp_path: Path) -> None:
    ports = allot({"validator_metrics": 50, "mail": 1, "stripe": 50}, {}, tmp_path / "ports", host=HOST)
    rows = [range(ports["validator_metrics"], ports["validator_metrics"] + 50), range(ports["mail"], ports["mail"] + 1)]
    rows.append(range(ports["stripe"], ports["stripe"] + 50))
    assert len({port for row in rows for port in row}) == 101


def test_a_port_is_chosen_by_one_process_only_until_that_ends() -> None:
    """Also while nobody listens there yet."""
    words = (sys.executable, "-c", CHOOSES_AND_WAITS)
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        assert not _keep(port)
        other.terminate()
    assert wait_until(lambda: _keep(port), 10)
    assert not _keep(port)


def test_no_two_choices_of_a_process_are_the_same() -> None:
    chosen = [choose(HOST) for _ in range(300)]
    assert len(set(chosen)) == 300


def test_a_named_port_is_taken_as_it_is(tmp_path: Path) -> None:
    port = choose(HOST)
    assert allot({"api": 1}, {"NP_API_PORT": str(port)}, tmp_path / "ports", host=HOST) == {"api": port}


def test_a_named_port_in_use_is_refused_with_what_to_do(tmp_path: Path, taken: int) -> None:
    with pytest.raises(CannotStart, match=f"port {taken} is in use: stop .* or set NP_API_PORT to a free port"):
        allot({"api": 1}, {"NP_API_PORT": str(taken)}, tmp_path / "ports", host=HOST)
    with pytest.raises(CannotStart, match=f"port {taken} is in use"):  # the second of two in a row
        allot({"api": 2}, {"NP_API_PORT": str(taken - 1)}, tmp_path / "ports", host=HOST)


def test_an_address_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"192\.0\.2\.1 port \d+ \(NP_API_PORT\) cannot be used: Cannot assign"):
        allot({"api": 1}, {"NP_API_PORT": str(choose(HOST))}, tmp_path / "ports", host="192.0.2.1")


def test_one_port_for_two_parts_is_refused(tmp_path: Path) -> None:
    port = str(choose(HOST))
    with pytest.raises(CannotStart, match=f"NP_VALIDATOR_PORT is {port}, which another part has already"):
        allot({"api": 1, "validator": 1}, {"NP_API_PORT": port, "NP_VALIDATOR_PORT": port}, tmp_path / "p", host=HOST)


@pytest.mark.parametrize("value", ["http", "0", "65536", "-1", "8001.0"])
def test_what_is_no_port_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(CannotStart, match="give a port number from 1 to 65535"):
        allot({"api": 1}, {"NP_API_PORT": value}, tmp_path / "ports", host=HOST)
