"""Statistical profile of one process: where its CPU time goes, by layer and by function.

A timer of the kernel counts the CPU time of the process, all threads together, and interrupts it every few milliseconds
of it. The stack of the main thread, which runs the loop, is noted then. Unlike a deterministic profiler this does not
make small functions look expensive. Work in C counts for the Python function that called it; work of other threads,
such as the server's, for the function that the main thread is in.
"""

import signal
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Final, NamedTuple

import greenlet  # type: ignore[import-untyped]  # ships no types
import msgspec

_EVERY: Final = 0.001
"""Seconds of CPU time; the kernel rounds it up to its own tick."""
_PACKAGES: Final = "site-packages/"
_ROOT: Final = str(Path(__file__).parents[2]) + "/"
_SERVER: Final = "server and loop"


class Samples(msgspec.Struct, frozen=True):
    """`own`: samples that found this function running. `within`: it, or something that it had called."""

    number: int
    layers: dict[str, int]
    own: dict[str, int]
    within: dict[str, int]


class Place(NamedTuple):
    path: str
    """Within its package, or within the project."""
    layer: str | None
    """Package or room. None in the standard library, which works for its caller's layer."""


class Sampler:
    def __init__(self, file: Path) -> None:
        """`file`: where `write` leaves the samples."""
        self._file = file
        self._layers: Counter[str] = Counter()
        self._own: Counter[str] = Counter()
        self._within: Counter[str] = Counter()

    async def start(self) -> None:
        signal.signal(signal.SIGPROF, self._note)
        signal.setitimer(signal.ITIMER_PROF, _EVERY, _EVERY)

    async def write(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        found = Samples(self._layers.total(), dict(self._layers), dict(self._own), dict(self._within))
        self._file.write_bytes(msgspec.json.encode(found))

    def _note(self, _signal: int, frame: FrameType | None) -> None:
        places = [(place(code.co_filename), code.co_qualname) for code in _stack(frame)]
        names = [f"{where.path}:{name}" for where, name in places]
        self._own.update(names[:1])
        self._within.update(set(names))
        self._layers[next((where.layer for where, _ in places if where.layer), _SERVER)] += 1


def _stack(frame: FrameType | None) -> Iterator[CodeType]:
    """The code that runs, innermost first. SQLAlchemy runs in greenlets, whose stacks go on in their parents'."""
    lane = greenlet.getcurrent()
    while lane is not None:
        while frame is not None:
            yield frame.f_code
            frame = frame.f_back
        lane = lane.parent
        frame = None if lane is None else lane.gr_frame


@cache
def place(filename: str) -> Place:
    _, packaged, rest = filename.rpartition(_PACKAGES)
    if packaged:
        return Place(rest, rest.split("/")[0].removesuffix(".py"))
    if not filename.startswith(_ROOT):
        return Place("/".join(filename.split("/")[-2:]), None)
    path = filename.removeprefix(_ROOT)
    room = path.rpartition("/")[0]
    return Place(path, room if room.startswith("billing_api/") else room.split("/")[0])
