"""Public keys of leases. Only workers sign leases; this process has no private key."""

from billing_api.licensing.leases import repository
from core.clock import Clock
from core.crypto.lease import JwkSet
from db.unit_of_work import Database


class LeaseKeys:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def published(self) -> JwkSet:
        async with self._database.as_system() as tx:
            return JwkSet.of(await repository.published(tx, self._clock()))
