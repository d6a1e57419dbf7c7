"""`make test AT=…`: tests, PostgreSQL and Valkey at another instant."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from core.clock import utc_now
from core.settings import process_environment
from devstack.faketime import handed_on, installed, moved_to, read
from devstack.faults import CannotStart
from tests.support.servers import ROOT

INSTANT: Final = "2028-02-29T12:00:00Z"
needs_the_library: Final = pytest.mark.skipif(installed() is None, reason="libfaketime is not installed")
# What the three say on one instant, as unix seconds.
CLOCKS: Final = """
import sys, time
from pathlib import Path
from devstack.ports import choose
from devstack.postgres import Postgres
from devstack.valkey import Valkey
from tests.support.servers import running

folder = Path(sys.argv[1])
postgres = Postgres(data=folder / "postgres", port=choose("127.0.0.1"), password="p", max_connections=10, fast=True)
valkey = Valkey(data=folder / "valkey", port=choose("127.0.0.1"), fast=True)
with running(postgres, folder / "postgres.log"), running(valkey, folder / "valkey.log"):
    print(time.time())
    print(postgres.run_sql("SELECT extract(epoch FROM clock_timestamp())"))
    print(valkey.call("EVAL", "\\"return redis.call('TIME')[1]+0\\"", "0").removeprefix(":"))
"""


def test_an_instant_without_its_offset_and_what_is_none_are_refused() -> None:
    assert read(INSTANT) == datetime(2028, 2, 29, 12, tzinfo=UTC)
    for text in ("2028-02-29", "2028-02-29T12:00:00", "2028-02-30T12:00:00Z", "tomorrow"):
        with pytest.raises(CannotStart, match="write it like 2027-01-31T23:59:20Z"):
            read(text)


@needs_the_library
@pytest.mark.parametrize("seconds", [86_400, -86_400])
def test_clocks_are_moved_by_a_distance_also_from_where_they_were_moved_to(seconds: int) -> None:
    now = utc_now()
    once = moved_to(now + timedelta(seconds=seconds), {"PATH": "/bin", "FAKETIME_SHARED": "theirs"}, now)
    assert once == {"PATH": "/bin", "LD_PRELOAD": installed(), "FAKETIME": f"{seconds:+d}"}
    twice = moved_to(now + 2 * timedelta(seconds=seconds), once, now + timedelta(seconds=seconds))
    assert twice["FAKETIME"] == f"{2 * seconds:+d}"


def test_servers_are_given_what_moves_clocks_and_nothing_where_nothing_does() -> None:
    assert handed_on({"LD_PRELOAD": "libjemalloc.so", "PGHOST": "elsewhere"}) == {}
    moved = {"LD_PRELOAD": "libfaketime.so.1", "FAKETIME": "+1"}
    assert handed_on(moved | {"FAKETIME_SHARED": "of another user", "PGHOST": "elsewhere"}) == moved


@needs_the_library
def test_postgres_and_valkey_are_at_the_instant_of_the_tests(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    words = (sys.executable, "-m", "devstack.faketime", INSTANT, sys.executable, "-c", CLOCKS, str(tmp_path))
    done = subprocess.run(
        words, cwd=ROOT, env=process_environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    clocks = [float(line) for line in done.stdout.split()]
    assert len(clocks) == 3
    for clock in clocks:
        assert timedelta(0) <= datetime.fromtimestamp(clock, UTC) - read(INSTANT) < timedelta(minutes=1)


def test_a_command_is_asked_for() -> None:
    done = subprocess.run(
        (sys.executable, "-m", "devstack.faketime", INSTANT), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("usage: ")
