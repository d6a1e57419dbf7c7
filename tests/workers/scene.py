"""Scene: both stores with some data, for tests that compare them."""

from typing import Any, Final

from redis.asyncio import Redis

from core.clock import utc_now
from core.hotstore import keys
from core.hotstore.writer import Writer
from core.licensing.record import ApiKeyRecord
from db.unit_of_work import Database
from tests.support.databases import change, rows
from tests.support.servers import DatabaseUrls
from workers.projection.lease_signer import Leases
from workers.projection.relay import Relay
from workers.rebuild.rebuild import Rebuild
from workers.reconciliation.run import Reconciliation, RunReport

LICENSED: Final = 120
KEY: Final = "npk_of_one"
FORGED: Final = ApiKeyRecord(
    epoch=1,
    version=3,
    key_id="npk_forged",
    active=True,
    license_hash=None,
    permissions=frozenset({"validate"}),
    current_secret=b"s",
)


class Scene:
    """Licenses, each with a database that was reported, and an API key, projected by a relay."""

    def __init__(self, database: Database, writer: Writer, urls: DatabaseUrls, redis: Redis) -> None:
        self.database = database
        self.writer = writer
        self.urls = urls
        self.redis = redis
        self.rebuild = Rebuild(database, writer, page=50)
        self.relay = Relay(database, writer, utc_now, complete=lambda: True)
        self.digests: list[bytes] = []
        self.told: list[tuple[str, str]] = []
        self.reconciliation = self.reconciling()

    def reconciling(self, **changes: Any) -> Reconciliation:
        told = lambda *difference: self.told.append(difference)  # noqa: E731  a name says what it is
        options: dict[str, Any] = {"every": 60, "load": self.rebuild.look, "told": told, "rebuilt_within": 5} | changes
        return Reconciliation(self.database, self.writer, utc_now, **options)

    @property
    def document(self) -> str:
        """The key of one license's document."""
        return keys.document(self.name)

    @property
    def name(self) -> str:
        return keys.short_hash(self.digests[0])

    async def look(self, *, thorough: bool = False) -> RunReport:
        report = await self.reconciliation.look("command", range(keys.BUCKETS) if thorough else ())
        assert report is not None
        return report

    async def found(self) -> list[tuple[str, str, str, str]]:
        """What the last run has written down."""
        differences = await rows(
            self.urls,
            "SELECT subject, fault, name, outcome FROM reconciliation_differences WHERE run_id ="
            " (SELECT id FROM reconciliation_runs ORDER BY started_at DESC LIMIT 1)"
            " ORDER BY created_at, subject, fault, name",
        )
        return [(row["subject"], row["fault"], row["name"], row["outcome"]) for row in differences]

    async def agrees(self) -> None:
        """Nothing is left, to the field."""
        report = await self.look(thorough=True)
        assert (report.state, await self.found()) == ("agreed", [])

    async def sign_leases(self) -> None:
        leases = Leases(self.database, self.writer, {"k": b"s" * 32}, utc_now)
        await leases.keep_up()
        assert await leases.sweep() == len(self.digests) + 1
        await self.agrees()


async def report_usage(urls: DatabaseUrls) -> None:
    """The events that the totals of `many_licenses` come from."""
    await change(
        urls,
        "INSERT INTO usage_events (license_id, user_id, resource, action, count, idempotency_key, body_hash,"
        " used_after, seq, is_overage, occurred_at)"
        " SELECT license_id, user_id, resource, 'created', 1, 'k', '', 1, 1, false, now()"
        " FROM license_usage",
    )
    await change(urls, "UPDATE license_usage SET events = 1")
