"""Explanations of verdicts: both stores side by side, and why they differ. The stores are real."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from billing_api.access.permissions import Principal
from billing_api.operations.customers.explain.rules import Facts, Question, causes
from billing_api.operations.customers.explain.schemas import AskWhy, Why
from billing_api.operations.customers.explain.service import REDIS_WITHIN, Explanations
from core.clock import unix_time
from core.hotstore import functions, keys
from core.hotstore.client import HotStoreClient
from core.hotstore.reader import Copy, Reader
from core.hotstore.snapshot import Reading, reserve_keys
from core.hotstore.writer import UsageTotal, Writer
from core.ids import new_id
from core.licensing.record import LicenseRecord, Usage
from core.licensing.state import Status
from core.licensing.verdict import Code
from db.license_records import LICENSE_ROWS, license_record
from db.models.identity import Role
from db.models.licensing import License
from tests.billing_api.conftest import Client, FakeTime
from tests.support.cluster import cluster
from tests.support.databases import change, rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls

CREATE: Final = "create_domain"


class Stage(NamedTuple):
    """A license, and both stores around it."""

    explanations: Explanations
    writer: Writer
    redis: Redis
    desk: Desk
    urls: DatabaseUrls
    license: License
    staff: Principal

    async def ask(self, feature: str = CREATE, fingerprint: str | None = None) -> Why:
        return await self.explanations.explain(self.staff, self.license.id, AskWhy(feature, fingerprint))

    async def project(self) -> None:
        """As the relay does it: the row's record, and nothing left in the outbox."""
        async with self.desk.database.as_system() as tx:
            row = (await tx.session.execute(LICENSE_ROWS.where(License.id == self.license.id))).one()
        await self.writer.apply_licenses([license_record(row)])
        found = await rows(self.urls, "SELECT resource, used, version FROM license_usage")
        totals = [
            UsageTotal(row.license_key_hash, one["resource"], one["used"], row.epoch, one["version"]) for one in found
        ]
        await self.writer.apply_usage(totals)
        await change(self.urls, "DELETE FROM outbox WHERE lane = 'projection'")

    async def change(self, assignments: str) -> None:
        await change(self.urls, f"UPDATE licenses SET {assignments} WHERE id = :id", id=self.license.id)

    async def use(self, count: int) -> None:
        await change(
            self.urls,
            "INSERT INTO license_usage (license_id, resource, user_id, used, version)"
            " VALUES (:id, 'domains', :user, :count, 1)"
            " ON CONFLICT (license_id, resource) DO UPDATE SET used = :count",
            id=self.license.id,
            user=self.license.user_id,
            count=count,
        )

    async def load(self) -> None:
        await self.writer.load_functions()
        for bucket, token in (await self.writer.begin_rebuild(range(keys.BUCKETS), holds_lost=False)).items():
            assert await self.writer.mark_loaded(bucket, token)


async def a_stage(redis: Redis, desk: Desk, urls: DatabaseUrls, clock: FakeTime) -> Stage:
    client = HotStoreClient(redis)
    license_ = (await desk.a_license(await desk.a_user())).license
    staff = Principal(await desk.a_user(Role.SUPPORT), Role.SUPPORT, new_id(), clock.now)
    explanations = Explanations(desk.database, Reader(client), clock)
    return Stage(explanations, Writer(client), redis, desk, urls, license_, staff)


@pytest.fixture
async def stage(desk: Desk, database_urls: DatabaseUrls, clock: FakeTime, valkey: str) -> AsyncIterator[Stage]:
    async with Redis.from_url(valkey) as redis:
        yield await a_stage(redis, desk, database_urls, clock)


def deciding(why: Why) -> list[tuple[Code | None, Code | None]]:
    """The rule that gives each side's verdict, where any does."""
    sides = [(rule.rule, (rule.postgres, rule.redis)) for rule in why.rules]
    decide = [[rule if seen is not None and seen.decides else None for seen in both] for rule, both in sides]
    return [(one, other) for one, other in decide if one or other]


def told(why: Why) -> list[str]:
    return [cause.code for cause in why.causes]


async def test_both_stores_say_the_same_of_a_projected_license(stage: Stage) -> None:
    await stage.load()
    await stage.use(2)
    await stage.project()
    await stage.writer.publish_synced(1, through := unix_time())
    why = await stage.ask()
    assert (why.differs, why.causes, why.redis.state) == (False, [], "read")
    assert (why.postgres.code, why.postgres.remaining_quota) == (Code.VALID, 23)
    assert (why.redis.code, why.redis.remaining_quota) == (Code.VALID, 23)
    assert (why.redis.epoch, why.redis.version) == (why.postgres.epoch, why.postgres.version) == (1, 1)
    assert why.redis.as_of is not None
    assert abs(why.redis.as_of.timestamp() - through) < 0.001
    assert why.postgres.as_of is not None
    assert why.redis.waiting_since is None
    rules = [rule.rule for rule in why.rules]
    expired = rules.index(Code.EXPIRED)
    assert [*rules[:expired], *rules[expired + 1 :]] == list(Code), "it is two rules: by status, by date"
    assert deciding(why) == [(Code.VALID, Code.VALID)]
    quota = why.rules[rules.index(Code.QUOTA_EXCEEDED)]
    assert quota.postgres is not None
    assert quota.postgres.saw == {"resource": "domains", "limit": 25, "used": 2, "held": 0}


async def test_a_suspension_that_waits_for_the_relay_is_told_with_its_age(stage: Stage) -> None:
    await stage.load()
    await stage.project()
    await stage.change("status = 'suspended'")
    why = await stage.ask()
    assert (why.postgres.code, why.redis.code, why.differs) == (Code.SUSPENDED, Code.VALID, True)
    assert (why.postgres.version, why.redis.version) == (2, 1)
    assert told(why) == ["not_projected", "backlog"]
    (job,) = await rows(stage.urls, "SELECT created_at FROM outbox WHERE lane = 'projection'")
    assert why.redis.waiting_since == job["created_at"]
    different = {rule.rule for rule in why.rules if rule.differs}
    assert different == {Code.SUSPENDED, Code.CANCELLED, Code.EXPIRED, Code.VALID}, "the status that they saw"
    assert deciding(why) == [(Code.SUSPENDED, None), (None, Code.VALID)]


async def test_a_license_that_a_sweep_called_expired_is_so_by_its_status(stage: Stage) -> None:
    await stage.load()
    await stage.change("status = 'expired'")
    await stage.project()
    why = await stage.ask()
    assert (why.postgres.code, why.redis.code, why.differs) == (Code.EXPIRED, Code.EXPIRED, False)
    assert deciding(why) == [(Code.EXPIRED, Code.EXPIRED)]
    applying = [rule.postgres.saw for rule in why.rules if rule.postgres and rule.postgres.decides]
    assert applying == [{"status": "expired"}]


async def test_a_change_that_was_set_aside_is_told_with_its_error(stage: Stage) -> None:
    await stage.load()
    await stage.project()
    await stage.change("status = 'suspended'")
    await change(
        stage.urls,
        "UPDATE outbox SET last_error = 'the row does not fit', attempts = 3, due_at = now() + interval '30 s'",
    )
    why = await stage.ask()
    assert told(why) == ["not_projected", "set_aside"]
    assert why.causes[1].detail.endswith("the row does not fit")
    assert "attempt 3" in why.causes[1].detail


async def test_a_change_without_a_job_is_left_to_reconciliation(stage: Stage) -> None:
    await stage.load()
    await stage.project()
    await stage.change("status = 'suspended'")
    await change(stage.urls, "DELETE FROM outbox")
    assert told(await stage.ask()) == ["not_projected", "no_job"]


async def test_a_license_that_redis_never_heard_of_is_not_found_there(stage: Stage) -> None:
    await stage.load()
    why = await stage.ask()
    assert (why.postgres.code, why.redis.code) == (Code.VALID, Code.NOT_FOUND)
    assert told(why) == ["not_projected", "backlog"]
    assert [rule.redis is not None for rule in why.rules] == [True, *(False for _ in why.rules[1:])]


async def test_totals_are_compared_as_well(stage: Stage) -> None:
    await stage.load()
    await stage.use(2)
    await stage.project()
    await stage.use(25)
    why = await stage.ask()
    assert (why.postgres.code, why.redis.code) == (Code.QUOTA_EXCEEDED, Code.VALID)
    assert told(why) == ["not_projected", "backlog"]
    assert "of domains, PostgreSQL has total 25, Redis 2" in why.causes[0].detail
    other = await stage.ask("create_database")
    assert (other.differs, told(other)) == (False, [])


async def test_reservations_are_known_to_redis_alone(stage: Stage) -> None:
    await stage.load()
    await stage.use(24)
    await stage.project()
    h = stage.license.license_key_hash
    names = reserve_keys(keys.short_hash(h))
    run_id = (await stage.writer.holds_made()).run_id[: keys.RUN_ID_LENGTH]
    await stage.writer.publish_synced(1, now := unix_time())
    args = ("domains", 1, 30_000, "hold-1", 1, 1, run_id, int(now * 1000))
    [answer] = await stage.writer._call_all([(functions.RESERVE, len(names), *names, *args)])
    assert answer[0] == b"granted", answer
    why = await stage.ask()
    assert (why.postgres.remaining_quota, why.redis.code) == (1, Code.QUOTA_EXCEEDED)
    assert (why.differs, told(why)) == (True, ["reservations"])


async def test_without_redis_postgresql_answers_alone(stage: Stage) -> None:
    await stage.load()
    await stage.project()
    await stage.redis.client_pause(int(1000 * 20 * REDIS_WITHIN))
    why = await stage.ask()
    await stage.redis.client_unpause()
    assert (why.postgres.code, why.redis.state, why.redis.code) == (Code.VALID, "unreachable", None)
    assert (why.differs, told(why)) == (False, ["store_unreachable"])
    assert all(rule.redis is None for rule in why.rules)
    assert (await stage.ask()).redis.state == "read"


async def test_nothing_is_concluded_from_a_bucket_that_is_being_filled(stage: Stage) -> None:
    assert (await stage.ask()).redis.state == "unreachable", "no functions"
    await stage.writer.load_functions()
    why = await stage.ask()
    assert (why.redis.state, why.redis.code, told(why)) == ("not_loaded", None, ["store_not_loaded"])


async def test_what_cannot_be_read_in_redis_is_told_and_postgresql_answers(stage: Stage) -> None:
    await stage.load()
    await stage.project()
    h = keys.short_hash(stage.license.license_key_hash)
    await stage.writer.client.pipeline([("SET", keys.document(h), b"no record")])
    await unreadable(stage)


@pytest.mark.parametrize("field", ["domains", "domains:v"])
async def test_a_total_that_cannot_be_read_is_told_as_well(stage: Stage, field: str) -> None:
    await stage.load()
    await stage.use(1)
    await stage.project()
    h = keys.short_hash(stage.license.license_key_hash)
    await stage.writer.client.pipeline([("HSET", keys.usage(h), field, b"no total")])
    await unreadable(stage)


async def unreadable(stage: Stage) -> None:
    why = await stage.ask()
    assert (why.postgres.code, why.redis.state, why.redis.code) == (Code.VALID, "unreadable", None)
    assert (why.differs, told(why)) == (False, ["store_unreadable"])


async def test_a_bucket_of_an_earlier_reign_is_called_unconfirmed(stage: Stage) -> None:
    await stage.load()
    await stage.project()
    bucket = keys.bucket_of_license(keys.short_hash(stage.license.license_key_hash))
    await stage.writer.client.pipeline([("HSET", keys.mark(bucket), "loaded", "an-earlier-reign:1")])
    why = await stage.ask()
    assert (why.redis.state, why.redis.code) == ("unconfirmed", Code.VALID)
    assert told(why) == ["store_unconfirmed"]


async def test_equal_versions_with_another_content_are_told(stage: Stage) -> None:
    await stage.load()
    await stage.project()
    await change(stage.urls, "ALTER TABLE licenses DISABLE TRIGGER USER")
    await stage.change("fingerprint_policy = 'required'")
    await change(stage.urls, "ALTER TABLE licenses ENABLE TRIGGER USER")
    why = await stage.ask()
    assert (why.postgres.code, why.redis.code) == (Code.FINGERPRINT_REQUIRED, Code.VALID)
    assert told(why) == ["other_content"]
    assert "fingerprint_required" in why.causes[0].detail


async def test_a_newer_redis_tells_of_a_restore(stage: Stage) -> None:
    await stage.load()
    await stage.change("status = 'suspended'")
    await stage.project()
    await change(stage.urls, "ALTER TABLE licenses DISABLE TRIGGER USER")
    await stage.change("status = 'active', version = 1")
    await change(stage.urls, "ALTER TABLE licenses ENABLE TRIGGER USER")
    why = await stage.ask()
    assert (why.postgres.code, why.redis.code) == (Code.VALID, Code.SUSPENDED)
    assert told(why) == ["redis_is_newer"]


async def test_a_fingerprint_is_judged_and_the_bound_one_never_shown(stage: Stage) -> None:
    await stage.load()
    await stage.change("fingerprint = 'bound-panel'")
    await stage.project()
    assert (await stage.ask(fingerprint="bound-panel")).redis.code is Code.VALID
    why = await stage.ask(fingerprint="a copy")
    assert (why.postgres.code, why.redis.code) == (Code.FINGERPRINT_MISMATCH, Code.FINGERPRINT_MISMATCH)
    assert "bound-panel" not in str(why)


async def test_a_cluster_is_asked_at_the_node_that_has_the_bucket(
    desk: Desk, database_urls: DatabaseUrls, clock: FakeTime, tmp_path: Path
) -> None:
    with cluster(tmp_path) as servers:
        async with Redis.from_url(servers.url) as redis:
            stage = await a_stage(redis, desk, database_urls, clock)
            await stage.load()
            await stage.project()
            await stage.writer.publish_synced(1, unix_time())
            why = await stage.ask()
            assert (why.redis.state, why.redis.code, why.differs) == ("read", Code.VALID, False)
            assert why.redis.as_of is not None
            await stage.writer.client.close()


@pytest.mark.parametrize("role", [Role.SUPPORT, Role.ADMIN])
async def test_staff_ask_over_http_while_redis_is_away(client: Client, desk: Desk, role: Role) -> None:
    license_id = (await desk.a_license(await desk.a_user())).license.id
    answer = await ask(client, license_id, await desk.staff(role), feature="create_domain", fingerprint="x")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["postgres"]["code"], body["redis"]["state"]) == ("VALID", "unreachable")
    expired = next(rule for rule in body["rules"] if rule["rule"] == "NOT_YET_VALID")
    assert expired["postgres"]["saw"]["now"].endswith("Z")
    assert expired["redis"] is None


async def test_nobody_else_asks(client: Client, desk: Desk) -> None:
    owner = await desk.a_user()
    license_id = (await desk.a_license(owner)).license.id
    assert (await ask(client, license_id, desk.signed_in(owner), feature="x")).status_code == 403
    assert (await ask(client, license_id, {}, feature="x")).status_code == 401
    assert (await ask(client, new_id(), await desk.staff(), feature="x")).status_code == 404


@pytest.mark.parametrize(
    "body",
    [{}, {"feature": ""}, {"feature": "x" * 65}, {"feature": "a\0b"}, {"feature": "x", "license_key": "y"},
     {"feature": "x", "fingerprint": ""}, {"feature": "x", "fingerprint": "y" * 257}],
)  # fmt: skip
async def test_a_question_that_makes_no_sense_is_refused(client: Client, desk: Desk, body: dict[str, Any]) -> None:
    license_id = (await desk.a_license(await desk.a_user())).license.id
    assert (await ask(client, license_id, await desk.staff(), **body)).status_code == 400


async def ask(client: Client, license_id: UUID, headers: dict[str, str], **body: Any) -> Any:
    return await client.post(f"/api/v1/admin/licenses/{license_id}/explain", json=body, headers=headers)


@pytest.mark.parametrize(("all_seen", "cause"), [(False, "backlog"), (True, "no_job")])
def test_a_backlog_that_was_not_looked_through_is_no_proof_that_a_job_is_missing(all_seen: bool, cause: str) -> None:
    record = LicenseRecord(epoch=1, version=2, limits={}, license_id=new_id(), status=Status.ACTIVE)
    question = Question("x", None, 0.0)
    older = Copy(Reading(replace(record, version=1), b"loaded", Usage(), None), {}, None, confirmed=True)
    found = causes(Facts(record, Usage(), {}), older, [], question, all_seen=all_seen)
    assert [one.code for one in found] == ["not_projected", cause]
