"""Ports of the parts of a stack.

A port that has a name (an NP_..._PORT variable, or a well-known default) must be free, or nothing is started. Any other
is chosen once and remembered, so that a restart finds the same addresses. It is chosen below the range from which the
kernel takes ports for outgoing connections: there, a connection could take it while a part is down.

Between choosing a port and listening there, another process could choose the same one. So a process that chooses a port
keeps it for itself until it ends, by a lock on one byte of a file that all processes of this user share.
"""

import errno
import fcntl
import os
import secrets
import socket
import tempfile
from collections.abc import Collection, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Final

import msgspec

from devstack.faults import CannotStart
from devstack.waiting import wait_until

WELL_KNOWN: Final = {"api": 8001, "validator": 8002, "portal": 3001, "nextpanel": 9000}
_CHOSEN_FROM: Final = range(20_000, 30_000)
_TRIES: Final = 200
_KEPT: Final[set[int]] = set()
"""What this process has chosen: it could lock a byte twice."""


def variable(name: str) -> str:
    return f"NP_{name.upper()}_PORT"


def allot(
    wanted: Mapping[str, int], env: Mapping[str, str], remembered: Path, *, host: str, patience: float = 0
) -> dict[str, int]:
    """A port for each name in `wanted`, whose values say how many in a row are needed.

    `patience`: seconds to wait for a named port whose holder may still be ending.
    """
    before = _recall(remembered)
    ports: dict[str, int] = {}
    taken: set[int] = set()
    for name, count in wanted.items():
        named = fixed_port(name, env)
        if named is None:
            ports[name] = _unnamed(host, before.get(name, 0), count, taken)
        elif taken.intersection(range(named, named + count)):
            raise CannotStart(f"{variable(name)} is {named}, which another part has already: give each its own")
        else:
            _claim(host, named, count, name, patience)
            ports[name] = named
        taken.update(range(ports[name], ports[name] + count))
    remembered.write_bytes(msgspec.json.format(msgspec.json.encode(ports)))
    return ports


def is_free(host: str, port: int) -> bool:
    return _obstacle(host, port) is None


def _obstacle(host: str, port: int) -> OSError | None:
    """The reason why we cannot listen there, if any."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the last holder's old connections do not count
        try:
            probe.bind((host, port))
        except OSError as obstacle:
            return obstacle
        return None


def choose(host: str, count: int = 1, taken: Collection[int] = ()) -> int:
    """The first of `count` free ports in a row."""
    for _ in range(_TRIES):
        port = secrets.choice(_CHOSEN_FROM)
        row = range(port, port + count)
        if not any(each in taken for each in row) and _free(host, port, count) and all(map(_keep, row)):
            return port
    raise CannotStart(f"no free port found between {_CHOSEN_FROM.start} and {_CHOSEN_FROM.stop}: stop some servers")


def _keep(port: int) -> bool:
    """Reserves the port for this process. False if this process or another has it already."""
    register = _register()
    if port in _KEPT:
        return False
    if register is not None:
        try:
            fcntl.lockf(register, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
    _KEPT.add(port)
    return True


@cache
def _register() -> int | None:
    """Open until the process ends: closing it once would give up all its locks. None where it cannot be opened."""
    file = Path(tempfile.gettempdir()) / f"nextpanel-billing-ports-{os.getuid()}"
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None


def _claim(host: str, port: int, count: int, name: str, patience: float) -> None:
    for each in range(port, port + count):
        wait_until(partial(is_free, host, each), patience)
        obstacle = _obstacle(host, each)
        if obstacle and obstacle.errno == errno.EADDRINUSE:
            advice = f"stop the program that listens there, or set {variable(name)} to a free port"
            raise CannotStart(f"port {each} is in use: {advice}")
        if obstacle:
            raise CannotStart(f"{host} port {each} ({variable(name)}) cannot be used: {obstacle.strerror}")


def fixed_port(name: str, env: Mapping[str, str]) -> int | None:
    """The port that this part must have: of its variable, else its well-known one."""
    raw = env.get(variable(name), "").strip()
    if not raw:
        return WELL_KNOWN.get(name)
    if not raw.isdigit() or not 0 < int(raw) < 65_536:
        raise CannotStart(f"{variable(name)} is {raw!r}: give a port number from 1 to 65535")
    return int(raw)


def _unnamed(host: str, before: int, count: int, taken: set[int]) -> int:
    """The port of the last run if it is free, else another."""
    same = before in _CHOSEN_FROM and taken.isdisjoint(range(before, before + count)) and _free(host, before, count)
    return before if same else choose(host, count, taken)


def _free(host: str, port: int, count: int) -> bool:
    return all(is_free(host, each) for each in range(port, port + count))


def _recall(file: Path) -> dict[str, int]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, int])
    except (FileNotFoundError, msgspec.DecodeError, msgspec.ValidationError):
        return {}
