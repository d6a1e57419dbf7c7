"""Plan of faults: what is struck when, decided by the seed alone, before anything begins.

Parts that only answer or project are struck every few seconds, each kind as often as the others. Redis is struck
rarely, because it is followed by a minute without reservations. A long run leaves time for grants between two losses; a
short run has its losses at the end. Lasting faults begin one after another, and overlap all others.
"""

import enum
from collections.abc import Iterator
from random import Random
from typing import Final, NamedTuple


class Target(enum.StrEnum):
    API_WORKER = "one API worker"
    API = "billing API"
    WORKER = "worker"
    VALIDATOR = "validator"
    POSTGRES = "PostgreSQL"
    BACKEND = "one PostgreSQL backend"
    VALKEY = "Valkey, data kept"
    VALKEY_WIPED = "Valkey, data removed"
    FLUSH = "FLUSHALL"
    TERM_API = "billing API, by SIGTERM"
    TERM_WORKER = "worker, by SIGTERM"
    TERM_VALIDATOR = "validator, by SIGTERM"
    STDERR_CLOSED = "stderr closed"
    FULL_DISK = "disk full"
    FROZEN_API_WORKER = "one API worker frozen"
    FROZEN_WORKER = "worker frozen"
    FROZEN_VALIDATOR = "validator frozen"
    FROZEN_POSTGRES = "PostgreSQL frozen"
    FROZEN_VALKEY = "Valkey frozen"
    DEMOTED_POSTGRES = "PostgreSQL read-only"
    DEMOTED_VALKEY = "Valkey read-only"


FROZEN: Final = (
    Target.FROZEN_API_WORKER,
    Target.FROZEN_WORKER,
    Target.FROZEN_VALIDATOR,
    Target.FROZEN_POSTGRES,
    Target.FROZEN_VALKEY,
)
LASTING: Final = (Target.FULL_DISK, *FROZEN, Target.DEMOTED_POSTGRES, Target.DEMOTED_VALKEY)
HOT_STORE: Final = (Target.VALKEY, Target.VALKEY_WIPED, Target.FLUSH)
_OFTEN: Final = tuple(target for target in Target if target not in (*HOT_STORE, *LASTING))
_SHORT: Final = 150.0


class Strike(NamedTuple):
    at: float
    """Seconds after the traffic began."""
    target: Target
    pick: float
    """Selects one of several processes: a number from 0 to 1."""
    lasts: float = 0.0
    """Seconds until a lasting fault is lifted."""


def strikes(seed: int, seconds: float) -> list[Strike]:
    chance = Random(f"{seed}:plan")
    often = _dealt(chance, _OFTEN, _often(chance, seconds))
    rarely = _dealt(chance, HOT_STORE, _rarely(chance, seconds))
    return sorted([*often, *rarely, *_lasting(chance, seconds)])


def _often(chance: Random, seconds: float) -> Iterator[float]:
    shortest, longest = (0.8, 1.4) if seconds < _SHORT else (1.0, 6.0)
    at = shortest
    while at < seconds:
        yield at
        at += chance.uniform(shortest, longest)


def _rarely(chance: Random, seconds: float) -> Iterator[float]:
    if seconds < _SHORT:
        yield from (seconds * part for part in (0.7, 0.8, 0.9))
        return
    at = chance.uniform(20, 40)
    while at < seconds:
        yield at
        at += chance.uniform(75, 110)


def _lasting(chance: Random, seconds: float) -> Iterator[Strike]:
    short = seconds < _SHORT
    each = (seconds - 4) / len(LASTING) if short else None
    at = 1.0
    for strike in _dealt(chance, LASTING, iter(lambda: 0.0, None)):
        if at >= seconds - 2:
            return
        yield strike._replace(at=at, lasts=chance.uniform(1, 2) if short else chance.uniform(3, 9))
        at += each or chance.uniform(12, 20)


def _dealt(chance: Random, targets: tuple[Target, ...], instants: Iterator[float]) -> Iterator[Strike]:
    """Targets in random order; each comes once before any comes again."""
    pack: list[Target] = []
    for at in instants:
        pack = pack or chance.sample(targets, len(targets))
        yield Strike(at, pack.pop(), chance.random())
