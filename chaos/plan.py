"""When what is struck: decided by the seed alone, before anything begins.

Parts that only answer or project are struck every few seconds, each kind as often as the others. Redis is struck
rarely, because it is followed by a minute without reservations: a long run leaves time for grants between two losses,
a short one has its losses at the end.
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


HOT_STORE: Final = (Target.VALKEY, Target.VALKEY_WIPED, Target.FLUSH)
_OFTEN: Final = tuple(target for target in Target if target not in HOT_STORE)
_SHORT: Final = 150.0


class Strike(NamedTuple):
    at: float
    """Seconds after the traffic began."""
    target: Target
    pick: float
    """Of several processes, which: a number from 0 to 1."""


def strikes(seed: int, seconds: float) -> list[Strike]:
    chance = Random(f"{seed}:plan")
    often = _dealt(chance, _OFTEN, _often(chance, seconds))
    rarely = _dealt(chance, HOT_STORE, _rarely(chance, seconds))
    return sorted([*often, *rarely])


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


def _dealt(chance: Random, targets: tuple[Target, ...], instants: Iterator[float]) -> Iterator[Strike]:
    """A shuffled pack of the targets, and another when it is used up."""
    pack: list[Target] = []
    for at in instants:
        pack = pack or chance.sample(targets, len(targets))
        yield Strike(at, pack.pop(), chance.random())
