"""What a machine, a network and a program may do to the client: it says what is wrong, and loses nothing."""

import asyncio
import gzip
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from nextpanel_billing_client import BillingClient, Refused, StoreUnusable, Unreachable
from nextpanel_billing_client.store import Store

from core.clock import unix_time
from core.crypto.lease import JwkSet, LeaseSigner
from core.licensing import lease as rules
from core.licensing.record import LicenseRecord
from core.licensing.state import Status
from core.settings import process_environment
from tests.clients.scripted import ScriptedServer, Step, refuses, says
from tests.clients.test_reports import KEY, NOWHERE, RECORDED, a_client, all_delivered, counts
from tests.clients.test_survival import asking
from tests.clients.test_transport import YES
from tests.support.callers import HOST
from tests.support.server_thread import serving
from tests.support.servers import ROOT

OTHER: Final = 65534
"""The user id of nobody."""


def a_program(code: str, *argv: str) -> str:
    """Runs it in a process of its own; returns what it has printed."""
    head = f"""
import asyncio, os, resource, signal, sys
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier
from nextpanel_billing_client import *
def a_client(store):
    return BillingClient(validator_url={NOWHERE!r}, billing_url={NOWHERE!r}, key_id="k", secret="s", store=store)
async def report(client, count=1):
    try:
        print("written" if await client.report({KEY!r}, "databases", "created", count) else "")
    except Exception as fault:
        print(type(fault).__name__, str(fault).partition(": ")[2])
"""
    env = process_environment() | {"PYTHONPATH": str(ROOT / "clients" / "python" / "src")}
    ran = subprocess.run(
        (sys.executable, "-c", head + code, *argv),
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_store_s_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    Store(tmp_path / "a" / "b" / "billing.db").close()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "b" / "billing.db").stat().st_mode & 0o777 == 0o600
    (tmp_path / "shared").mkdir(mode=0o755)
    Store(tmp_path / "shared" / "billing.db").close()
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o755  # a folder that is there is left alone


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("a file/billing.db", "File exists; make its folder for the user that runs this, or name another file"),
        ("folder", "Is a directory; make its folder for the user that runs this, or name another file"),
        ("/proc/nowhere/billing.db", "No such file or directory; make its folder"),
        ("x" * 300, "File name too long; make its folder"),
        ("another.db", "file is not a database; move it away to begin a new one, then activate again"),
    ],
)
def test_a_store_that_cannot_be_made_says_what_to_do(tmp_path: Path, place: str, why: str) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "another.db").write_bytes(b"somebody's letters" * 500)
    with pytest.raises(StoreUnusable) as fault:
        a_client(tmp_path / place)
    assert str(fault.value).startswith(f"the store {tmp_path / place} cannot be used: {why}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may go on as another user")
def test_a_folder_of_another_user_is_told() -> None:
    """Not below the folder of the tests, which another user may not even enter."""
    code = f"""
os.setuid({OTHER})
for name in ("billing.db", "new.db"):
    try:
        a_client(Path(sys.argv[1]) / name)
    except StoreUnusable as fault:
        print(str(fault).partition("cannot be used: ")[2])
"""
    with TemporaryDirectory() as name:
        folder = Path(name)
        Store(folder / "billing.db").close()
        (folder / "billing.db").chmod(0o666)
        folder.chmod(0o755)
        readonly, denied = a_program(code, name).splitlines()
    assert readonly.endswith("; make the file and its folder writable for the user that runs this")
    assert denied == "Permission denied; make its folder for the user that runs this, or name another file"


def test_a_full_disk_is_told_and_what_was_written_stays(store: Path) -> None:
    code = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
async def main():
    async with a_client(sys.argv[1]) as client:
        await report(client)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        await report(client)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await report(client)
        print(await client.waiting_reports())
asyncio.run(main())
"""
    before, full, after, number = a_program(code, str(store)).splitlines()
    assert (before, after, number) == ("written", "written", "2")
    assert full.startswith("StoreUnusable")
    assert "make room on its disk" in full


@pytest.mark.parametrize("given", [{"key_id": "k", "secret": "s"}, {}])
def test_a_fork_before_the_first_use_does_no_harm_and_one_after_it_is_told(store: Path, given: dict[str, str]) -> None:
    code = f"""
client = BillingClient(validator_url={NOWHERE!r}, billing_url={NOWHERE!r}, store=sys.argv[1], **{given})
for _ in range(2):
    sys.stdout.flush()
    if os.fork() == 0:
        asyncio.run(report(client))
        sys.stdout.flush()
        os._exit(0)
    os.wait()
    asyncio.run(report(client))
"""
    told = a_program(code, str(store)).splitlines()
    assert told == ["written", "written", "RuntimeError make one in each process, after the fork", "written"]
    with closing(sqlite3.connect(store)) as file:
        assert file.execute("SELECT count(*) FROM reports").fetchone() == (3,)


def test_several_that_start_at_once_make_one_store(tmp_path: Path) -> None:
    path, together = tmp_path / "new" / "billing.db", Barrier(8)

    def start(number: int) -> None:
        together.wait(10)
        store = Store(path)
        store.add_report(f"r{number}", "{}")
        store.close()

    with ThreadPoolExecutor(8) as starting:
        list(starting.map(start, range(8)))
    kept = Store(path)
    assert kept.waiting() == 8
    kept.close()


@pytest.mark.parametrize("harm", [lambda file: file.rename(file.with_name("old.db")), Path.unlink])
async def test_a_store_that_was_taken_away_takes_no_reports(store: Path, harm: Callable[[Path], Any]) -> None:
    """SQLite would go on, in a file that nobody finds again."""
    async with a_client(store) as client:
        await client.report(KEY, "databases", "created", 1)
        harm(store)
        with pytest.raises(StoreUnusable, match="was moved or deleted while in use: restart this program"):
            await client.report(KEY, "databases", "created", 1)
        Store(store).close()  # another process makes a new one
        with pytest.raises(StoreUnusable, match="restart this program"):
            await client.report(KEY, "databases", "created", 1)


async def test_a_client_is_entered_once(store: Path) -> None:
    async with a_client(store) as client:
        pass
    with pytest.raises(RuntimeError, match="make another for each start"):
        await client.__aenter__()
    with pytest.raises(StoreUnusable, match="this client is closed: make another"):
        await client.report(KEY, "databases", "created", 1)


@pytest.mark.parametrize(
    "url", ["localhost:8002", "license.example.com", "ftp://x", "http://", "http://h:port", "http://h?a=b", ""]
)
def test_an_address_that_cannot_be_one_is_told_at_once(store: Path, url: str) -> None:
    for name in ("validator_url", "billing_url"):
        urls: dict[str, Any] = {"validator_url": NOWHERE, "billing_url": NOWHERE, name: url}
        with pytest.raises(ValueError, match=name):
            BillingClient(**urls, key_id="k", secret="s", store=store)


async def test_the_end_of_a_line_is_no_part_of_a_key(server: ScriptedServer, store: Path) -> None:
    server.script = [says(YES)]
    urls: dict[str, Any] = {"validator_url": f"{server.url}/\n", "billing_url": NOWHERE}
    async with BillingClient(**urls, key_id="k1\n", secret=" s\r\n", store=str(store)) as client:
        assert (await client.validate(KEY, "backups")).valid
    assert server.asked[0].headers["np-signature"].startswith("k=k1,t=")


async def test_what_a_report_cannot_be_is_told_where_it_is_made(store: Path) -> None:
    async with a_client(store) as client:
        for key in ("", "x" * 256, "caf\u00e9", "a\nb", "\ud800"):
            with pytest.raises(ValueError, match="printable ASCII"):
                await client.report(KEY, "databases", "set", 1, idempotency_key=key, occurred_at=_now())
        with pytest.raises(ValueError, match="needs a time zone"):
            await client.report(KEY, "databases", "set", 1, occurred_at=_now().replace(tzinfo=None))
        assert await client.waiting_reports() == 0


def _now() -> datetime:
    return datetime.fromtimestamp(unix_time(), UTC)


async def test_a_short_answer_cannot_become_a_long_one(server: ScriptedServer, store: Path) -> None:
    """Compressed, 64 MB of nothing are 64 kB."""
    server.script = [Step(200, gzip.compress(bytes(64 << 20)), {"Content-Encoding": "gzip"})]
    async with asking(store, server) as client:
        with pytest.raises(Unreachable, match="not the service's"):
            await client.validate(KEY, "backups")
    assert {asked.headers["accept-encoding"] for asked in server.asked} == {"identity"}


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x16\x03\x01\x02\x00", b"HTTP/1.1 200 OK\r\n" * 9999, b""]
)
async def test_who_speaks_another_language_is_not_the_service(store: Path, answer: bytes) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    with serving(speak) as port:
        async with BillingClient(
            validator_url=f"http://{HOST}:{port}",
            billing_url=NOWHERE,
            key_id="k",
            secret="s",
            store=store,
            patience=0.5,
        ) as client:
            with pytest.raises(Unreachable):
                await client.validate(KEY, "backups")


async def test_a_stranger_s_words_do_no_harm_in_a_log(server: ScriptedServer, store: Path) -> None:
    detail = "sign in\n2027-01-01 CRITICAL all is lost \x1b[2J\u202e" + "x" * 100_000
    problem = {"code": "a\rb", "detail": detail, "conclusive": True}
    server.script = [says(problem, 403)]
    async with asking(store, server) as client:
        with pytest.raises(Refused) as refusal:
            await client.validate(KEY, "backups")
    told = str(refusal.value)
    assert told.isprintable()
    assert told.startswith("a\\rb: sign in\\n2027-01-01 CRITICAL all is lost \\x1b[2J\\u202ex")
    assert len(told) < 1100


OLD: Final = LeaseSigner({"k1": bytes(32)})
NEW: Final = LeaseSigner({"k2": bytes(range(32))})
NEW_BY_THE_OLD_NAME: Final = LeaseSigner({"k1": bytes(range(32))})


def leases(signed_with: LeaseSigner, published: LeaseSigner, *, ago: float = 0) -> Step:
    """A service that issues leases, publishes keys, and answers no question."""
    record = LicenseRecord(
        epoch=1, version=1, limits={}, license_id=UUID(int=1), status=Status.ACTIVE, features={"backups": True}
    )
    token = signed_with.sign(rules.encode(rules.draft(record, now=unix_time() - ago)))
    answers = {
        "lease": says({"lease": token, "code": "VALID"}),
        "jwks.json": says(msgspec.to_builtins(JwkSet.of(published.public_keys))),
        "validate-license": refuses(503, "not_ready"),
    }
    return Step(made_of=lambda asked: answers[asked.target.rpartition("/")[2]])


@pytest.mark.parametrize("rotated", [NEW, NEW_BY_THE_OLD_NAME])
async def test_a_signing_key_is_rotated(server: ScriptedServer, store: Path, rotated: LeaseSigner) -> None:
    """Also by an installation that was set up anew, and gave the old name to another key."""
    async with asking(store, server) as client:
        for signer in (OLD, rotated):
            server.script = [leases(signer, signer)]
            assert await client.fetch_lease(KEY)
            assert (await client.validate(KEY, "backups")).offline


@pytest.mark.parametrize("forger", [NEW, NEW_BY_THE_OLD_NAME])
async def test_a_lease_that_another_has_signed_replaces_none(
    server: ScriptedServer, store: Path, forger: LeaseSigner
) -> None:
    async with asking(store, server) as client:
        server.script = [leases(OLD, OLD)]
        assert await client.fetch_lease(KEY)
        server.script = [leases(forger, OLD)]
        assert not await client.fetch_lease(KEY)
        assert (await client.validate(KEY, "backups")).offline  # by the one before


async def test_an_expired_lease_is_not_taken(server: ScriptedServer, store: Path) -> None:
    async with asking(store, server) as client:
        server.script = [leases(OLD, OLD, ago=30 * 86_400)]
        assert not await client.fetch_lease(KEY)
        with pytest.raises(Unreachable, match="HTTP 503"):
            await client.validate(KEY, "backups")


async def test_a_clock_that_jumps_back_keeps_no_report_back(server: ScriptedServer, store: Path) -> None:
    now = [unix_time()]
    server.script = [RECORDED]
    async with a_client(store, server.url, clock=lambda: now[0]) as client:
        await client.report(KEY, "databases", "set", 1)
        await all_delivered(client)
        now[0] -= 400 * 86_400
        await client.report(KEY, "databases", "set", 2)
        await all_delivered(client)
    assert counts(server.asked) == [1, 2]
    first, second = (item["occurred_at"] for asked in server.asked for item in asked.content["items"])
    assert second < first
