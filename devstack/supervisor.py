"""Supervisor: starts a stack in the order of its dependencies, keeps it running, and stops it in reverse.

Each node is one task. It waits for the nodes that it comes after, does its work, and says so. A part's task then waits
for its child to die, and starts it again, at once the first time and with growing pauses if it keeps dying. What came
after that part is left alone: services outlive a restart of their database, and it is here that this is tried out.

A failure before everything was ready once is final: the whole stack is stopped and the reason told in one line.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from devstack.child import Child, Nursery, families
from devstack.faults import CannotStart
from devstack.leash import Launch
from devstack.parts import Node, Part, Step, levels

Pids = dict[str, list[int]]

_READY_WITHIN: Final = 180.0  # the validator waits for a projection, which may be large
_PROBE_EVERY: Final = 0.05
_LOOK_EVERY: Final = 0.5
_PAUSES: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_CALM: Final = 10.0  # a part that ran for so long died of something new


class Supervisor:
    """Runs the nodes until its `run` is cancelled, and then stops them."""

    def __init__(
        self,
        nodes: Sequence[Node],
        nursery: Nursery,
        *,
        tell: Callable[[str], None],
        when_ready: Callable[[Pids], None],
    ) -> None:
        """`when_ready` is called once every part is ready, and again when pids have changed and every part is ready."""
        self._nodes = nodes
        self._levels = levels(nodes)
        self._nursery = nursery
        self._tell = tell
        self._when_ready = when_ready
        self._done = {node.name: asyncio.Event() for node in nodes}
        self._children: dict[str, Child] = {}
        self._hurry = asyncio.Event()
        self._stopping = False
        self._unreported = False

    @property
    def stopping(self) -> bool:
        """True once it has begun to stop. Do not cancel it then: children would stay unstopped."""
        return self._stopping

    def hurry(self) -> None:
        """Do not wait for clean ends any longer."""
        self._hurry.set()

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for node in self._nodes:
                    group.create_task(self._tend(node))
                group.create_task(self._watch())
        except ExceptionGroup as faults:
            raise _first_refusal(faults) or faults from None
        finally:
            self._stopping = True
            await self._stop()

    async def _tend(self, node: Node) -> None:
        for name in node.after:
            await self._done[name].wait()
        began = time.monotonic()
        if isinstance(node, Step):
            await self._do(node)
            self._tell(f"{node.name:<12} done in {time.monotonic() - began:.2f} s")
            self._done[node.name].set()
        else:
            await self._bring_up(node)
            self._tell(f"{node.name:<12} ready in {time.monotonic() - began:.2f} s")
            await self._keep(node)

    async def _do(self, step: Step) -> None:
        if not isinstance(step.work, Launch):
            await asyncio.to_thread(step.work)
            return
        child = self._children[step.name] = await self._nursery.start(step.name, step.work)
        if await child.wait() != 0:
            raise CannotStart(f"{step.name} {child.how_it_ended}: {self._about(step.name)}")
        del self._children[step.name]

    async def _keep(self, part: Part) -> None:
        setbacks = 0
        while True:
            began = time.monotonic()
            child = self._children[part.name]
            await child.wait()
            self._done[part.name].clear()
            self._tell(f"{part.name:<12} {child.how_it_ended}; starting it again")
            await child.sweep()
            setbacks = await self._bring_back(part, 0 if time.monotonic() - began > _CALM else setbacks)

    async def _bring_back(self, part: Part, setbacks: int) -> int:
        """Try until it is ready; how often it has failed or died lately, which makes the next pause longer."""
        while True:
            await asyncio.sleep(_PAUSES[min(setbacks, len(_PAUSES) - 1)])
            setbacks += 1
            began = time.monotonic()
            try:
                await self._bring_up(part)
            except (CannotStart, OSError) as fault:  # OSError: no room for a log, no process to be had
                self._tell(str(fault))
                await self._children[part.name].sweep()
            else:
                self._tell(f"{part.name:<12} ready again in {time.monotonic() - began:.2f} s")
                return setbacks

    async def _bring_up(self, part: Part) -> None:
        """Start the part and wait until it is ready."""
        await asyncio.to_thread(part.server.prepare)
        child = self._children[part.name] = await self._nursery.start(part.name, part.server.launch())
        death = asyncio.ensure_future(child.wait())
        try:
            async with asyncio.timeout(_READY_WITHIN):
                while not await asyncio.to_thread(part.server.is_ready):
                    await asyncio.wait({death}, timeout=_PROBE_EVERY)
                    if child.ended:
                        raise self._failure(part, f"{child.how_it_ended} before it was ready")
        except TimeoutError:
            await child.stop(0, self._hurry)
            raise self._failure(part, f"was not ready in {_READY_WITHIN:.0f} s") from None
        finally:
            death.cancel()
        self._done[part.name].set()

    def _failure(self, part: Part, how: str) -> CannotStart:
        words = f"{part.name} {how}: {self._about(part.name)}"
        return CannotStart("; ".join(filter(None, (words, part.server.advice))))

    def _about(self, name: str) -> str:
        return f"{self._nursery.last_words(name)} (log: {self._nursery.log(name)})"

    async def _watch(self) -> None:
        """Report the pids of all parts whenever they have changed and every part is ready."""
        reported: Pids = {}
        for done in self._done.values():
            await done.wait()
        while True:
            pids = self._pids()
            complete = all(pids.values()) and all(done.is_set() for done in self._done.values())
            if complete and pids != reported and self._report(pids):
                reported = pids
            await asyncio.sleep(_LOOK_EVERY)

    def _report(self, pids: Pids) -> bool:
        """False if it could not be reported: a disk may be full for a while, and the stack runs on."""
        try:
            self._when_ready(pids)
        except OSError as fault:
            if not self._unreported:
                self._tell(f"what runs cannot be written down ({fault.strerror}); it is tried until it can be")
            self._unreported = True
            return False
        self._unreported = False
        return True

    def _pids(self) -> Pids:
        alive = families(child.pid for child in self._children.values())
        return {name: child.remember(alive[child.pid]) for name, child in self._children.items()}

    async def _stop(self) -> None:
        """Stop whatever runs, the parts that others build on last."""
        patience = {node.name: node.patience for node in self._nodes if isinstance(node, Part)}
        self._pids()
        for level in sorted(set(self._levels.values()), reverse=True):
            leaving = [name for name in self._children if self._levels[name] == level]
            in_time = await asyncio.gather(
                *(self._children[name].stop(patience.get(name, 1.0), self._hurry) for name in leaving)
            )
            for name, clean in zip(leaving, in_time, strict=True):
                if not clean:
                    self._tell(f"{name:<12} did not stop when asked and was killed")


def _first_refusal(faults: BaseExceptionGroup[BaseException]) -> CannotStart | None:
    for fault in faults.exceptions:
        if isinstance(fault, CannotStart):
            return fault
    return None
