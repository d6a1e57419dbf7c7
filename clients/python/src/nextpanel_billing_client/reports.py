"""Usage reports: written down here first, then delivered, in their order, until the service has answered.

A report is a fact, and facts are not lost: neither by an outage, nor by the end of this process. Each has an
idempotency key from the moment it is written down, so that one delivered twice counts once.
"""

import asyncio
import json
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from nextpanel_billing_client.answers import Refused, Unreachable
from nextpanel_billing_client.store import Store
from nextpanel_billing_client.transport import Transport

_LOOK_EACH: Final = 5.0
_LONGEST_PAUSE: Final = 60.0
_OUR_FAULT: Final = frozenset({401, 403})

log = logging.getLogger(__name__)


class Reports:
    def __init__(self, store: Store, transport: Transport, billing_url: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._transport = transport
        self._url = f"{billing_url}/api/v1/billing/usage"
        self._clock = clock
        self._rung = asyncio.Event()

    def wake(self) -> None:
        self._rung.set()

    async def add(self, report: dict[str, Any], idempotency_key: str | None) -> str:
        key = idempotency_key or uuid4().hex
        await asyncio.to_thread(self._store.add_report, key, json.dumps(report))
        self.wake()
        return key

    async def run(self) -> None:
        """Delivers, until cancelled."""
        failures = 0
        while True:
            self._rung.clear()
            try:
                await self.deliver()
                failures, pause = 0, _LOOK_EACH  # another process may have left something behind
            except (Unreachable, Refused) as failure:
                failures += 1
                doubled = min(0.5 * 2 ** min(failures, 10), _LONGEST_PAUSE)
                asked = failure.retry_after if isinstance(failure, Unreachable) else None
                pause = max(doubled * random.uniform(0.5, 1), asked or 0)  # noqa: S311  spreads retries, guards nothing
                log.warning("usage reports wait: %s", failure)
                await asyncio.sleep(pause)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._rung.wait()

    async def deliver(self) -> int:
        """Everything that waits, now; says how many. Raises Unreachable, or Refused where our key is not taken."""
        number = 0
        while (report := await asyncio.to_thread(self._store.take_report, self._clock())) is not None:
            try:
                body, key = report.body.encode(), report.idempotency_key
                await self._transport.post(self._url, body, _is_recorded, idempotency_key=key)
            except Refused as refusal:
                if refusal.status in _OUR_FAULT:  # nothing is wrong with the report
                    await asyncio.to_thread(self._store.give_back, report)
                    raise
                log.error("a usage report was refused: %s", refusal.code)  # noqa: TRY400  no trace: it is the answer
                await asyncio.to_thread(self._store.refuse, report, str(refusal))
            except BaseException:
                await asyncio.to_thread(self._store.give_back, report)
                raise
            else:
                await asyncio.to_thread(self._store.delivered, report)
                number += 1
        return number


def _is_recorded(answer: dict[str, Any]) -> None:
    if answer["success"] is not True:
        raise ValueError("neither recorded nor refused")
