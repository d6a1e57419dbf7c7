"""Provisioning: a license's NextPanel account is made once, also after failures, and follows the license."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from billing_api.gateways.http_client import PartnerRefused, Retryable
from billing_api.gateways.nextpanel import NextPanelGateway
from billing_api.licensing.licenses.issuing import Issued
from core.clock import utc_now
from core.ids import new_id
from core.jobs import AlignAccount, Provision
from db.unit_of_work import Database
from tests.support.databases import change, rows
from tests.support.environment import NEXTPANEL_SECRET
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls
from tests.workers.world import Simulator
from workers.handlers.provisioning import Provisioning
from workers.jobs.dispatch import Dispatcher, Work


@pytest.fixture
async def provisioning(database: Database, nextpanel: Simulator) -> AsyncIterator[Provisioning]:
    gateway = NextPanelGateway(nextpanel.url, NEXTPANEL_SECRET, utc_now)
    yield Provisioning(database, gateway)
    await gateway.close()


@pytest.fixture
async def issued(desk: Desk) -> Issued:
    return await desk.a_license(await desk.a_user())


async def the_license(urls: DatabaseUrls, issued: Issued) -> dict[str, Any]:
    return (await rows(urls, "SELECT * FROM licenses WHERE id = :id", id=issued.license.id))[0]


async def jobs_of(urls: DatabaseUrls, kind: str) -> list[dict[str, Any]]:
    return await rows(urls, "SELECT * FROM outbox WHERE job ->> 'type' = :kind ORDER BY id", kind=kind)


async def set_status(urls: DatabaseUrls, issued: Issued, status: str) -> None:
    statement = "UPDATE licenses SET status = cast(:status AS license_status) WHERE id = :id"
    await change(urls, statement, status=status, id=issued.license.id)


async def status_of(nextpanel: Simulator, license_id: UUID) -> str | None:
    account = await nextpanel.account(license_id)
    return None if account is None else str(account["status"])


async def test_a_license_gets_its_account_and_its_owner_a_mail(
    provisioning: Provisioning, issued: Issued, nextpanel: Simulator, database_urls: DatabaseUrls
) -> None:
    await provisioning.provision(Provision(issued.license.id))
    account = await nextpanel.account(issued.license.id)
    assert account is not None
    assert (account["plan"], account["effects"]) == ("professional", 1)
    license_ = await the_license(database_urls, issued)
    assert license_["provisioning"] == "done"
    assert str(license_["nextpanel_user_id"]) == account["nextpanel_account_id"]
    assert license_["nextpanel_login_url"].endswith(account["nextpanel_account_id"])
    [mail] = await rows(database_urls, "SELECT * FROM mails")
    assert (mail["template"], mail["recipient"]) == ("license_ready", account["user_email"])
    assert mail["parameters"]["plan_name"] == "Professional"
    [job] = await jobs_of(database_urls, "deliver_mail")
    assert job["job"]["mail_id"] == str(mail["id"])


async def test_a_second_job_finds_it_done(
    provisioning: Provisioning, issued: Issued, nextpanel: Simulator, database_urls: DatabaseUrls
) -> None:
    await provisioning.provision(Provision(issued.license.id))
    await provisioning.provision(Provision(issued.license.id))
    assert len(await nextpanel.requests()) == 1
    assert len(await rows(database_urls, "SELECT 1 FROM mails")) == 1


@pytest.mark.parametrize("fault", ["drop", "drop_after_effect"])
async def test_an_answer_that_got_lost_is_asked_for_under_the_same_key(
    provisioning: Provisioning, issued: Issued, nextpanel: Simulator, database_urls: DatabaseUrls, fault: str
) -> None:
    await nextpanel.fault(fault)
    with pytest.raises(Retryable):
        await provisioning.provision(Provision(issued.license.id))
    assert (await the_license(database_urls, issued))["provisioning"] == "pending"
    await provisioning.provision(Provision(issued.license.id))
    sent = {request["headers"]["idempotency-key"] for request in await nextpanel.requests()}
    assert sent == {f"provision-{issued.license.id}"}
    account = await nextpanel.account(issued.license.id)
    assert account is not None
    assert account["effects"] == 1
    assert len(await rows(database_urls, "SELECT 1 FROM mails")) == 1


async def test_a_plan_that_changes_between_two_tries_is_made_up_for(
    provisioning: Provisioning, issued: Issued, nextpanel: Simulator, database_urls: DatabaseUrls
) -> None:
    """The account is asked for as it was the first time, or its key would be refused; then it follows."""
    await nextpanel.fault("drop_after_effect")
    with pytest.raises(Retryable):
        await provisioning.provision(Provision(issued.license.id))
    await change(database_urls, "UPDATE licenses SET license_type = 'enterprise'")
    await change(
        database_urls, "UPDATE users SET email = 'other@example.com' WHERE id = :id", id=issued.license.user_id
    )
    await provisioning.provision(Provision(issued.license.id))
    account = await nextpanel.account(issued.license.id)
    assert account is not None
    assert (account["plan"], account["effects"]) == ("professional", 1)
    [job] = await jobs_of(database_urls, "align_account")
    await provisioning.align(AlignAccount(UUID(job["job"]["license_id"])))
    account = await nextpanel.account(issued.license.id)
    assert account is not None
    assert account["plan"] == "enterprise"


async def test_a_refusal_shows_on_the_license_and_an_admin_may_try_again(
    provisioning: Provisioning, issued: Issued, nextpanel: Simulator, database: Database, database_urls: DatabaseUrls
) -> None:
    await nextpanel.fault("status", status=422, body={"detail": "this country is not served"})
    dispatcher = Dispatcher(
        database, [Work(Provision, provisioning.provision, claim_seconds=15, on_death=provisioning.refuse)]
    )
    [job] = await jobs_of(database_urls, "provision")
    await dispatcher.perform(job["id"])
    license_ = await the_license(database_urls, issued)
    assert license_["provisioning"] == "failed"
    assert license_["provisioning_error"] == "NextPanel answered 422: this country is not served"
    [dead] = await jobs_of(database_urls, "provision")
    assert dead["dead_at"] is not None
    assert dead["last_error"] == license_["provisioning_error"]

    await change(database_urls, "UPDATE outbox SET dead_at = NULL, attempts = 0, due_at = now()")
    await dispatcher.perform(job["id"])
    license_ = await the_license(database_urls, issued)
    assert (license_["provisioning"], license_["provisioning_error"]) == ("done", None)


@pytest.mark.parametrize("status", ["cancelled", "expired"])
async def test_what_ended_before_it_began_gets_no_account(
    provisioning: Provisioning, issued: Issued, nextpanel: Simulator, database_urls: DatabaseUrls, status: str
) -> None:
    await set_status(database_urls, issued, status)
    await provisioning.provision(Provision(issued.license.id))
    assert await nextpanel.account(issued.license.id) is None


async def test_a_license_that_is_gone_is_nothing_to_do(provisioning: Provisioning, nextpanel: Simulator) -> None:
    await provisioning.provision(Provision(new_id()))
    await provisioning.align(AlignAccount(new_id()))
    assert await nextpanel.requests() == []


async def test_an_account_follows_its_license(
    provisioning: Provisioning, issued: Issued, nextpanel: Simulator, database_urls: DatabaseUrls
) -> None:
    license_id = issued.license.id
    await provisioning.provision(Provision(license_id))
    for status, expected in (("suspended", "suspended"), ("active", "active"), ("suspended", "suspended")):
        await set_status(database_urls, issued, status)
        await provisioning.align(AlignAccount(license_id))
        assert await status_of(nextpanel, license_id) == expected
    await set_status(database_urls, issued, "active")
    await change(database_urls, "UPDATE licenses SET license_type = 'enterprise'")
    await provisioning.align(AlignAccount(license_id))
    account = await nextpanel.account(license_id)
    assert account is not None
    assert (account["status"], account["plan"]) == ("active", "enterprise")
    await set_status(database_urls, issued, "cancelled")
    await provisioning.align(AlignAccount(license_id))
    assert await status_of(nextpanel, license_id) == "terminated"


async def test_an_old_job_does_what_is_right_now(
    provisioning: Provisioning, issued: Issued, nextpanel: Simulator, database_urls: DatabaseUrls
) -> None:
    """Suspended and resumed before the first job ran: neither of the two jobs suspends anybody."""
    await provisioning.provision(Provision(issued.license.id))
    await set_status(database_urls, issued, "suspended")
    await set_status(database_urls, issued, "active")
    for _ in range(2):
        await provisioning.align(AlignAccount(issued.license.id))
    paths = [request["path"].rpartition("/")[2] for request in await nextpanel.requests()]
    assert "suspend" not in paths
    assert await status_of(nextpanel, issued.license.id) == "active"


async def test_keys_name_the_version(
    provisioning: Provisioning, issued: Issued, nextpanel: Simulator, database_urls: DatabaseUrls
) -> None:
    await provisioning.provision(Provision(issued.license.id))
    await set_status(database_urls, issued, "suspended")
    version = (await the_license(database_urls, issued))["version"]
    await provisioning.align(AlignAccount(issued.license.id))
    await provisioning.align(AlignAccount(issued.license.id))
    keys = [request["headers"]["idempotency-key"] for request in await nextpanel.requests()][1:]
    assert keys == [f"suspend-{issued.license.id}-{version}"] * 2


async def test_an_account_that_nextpanel_has_no_more_need_not_be_suspended(
    provisioning: Provisioning, issued: Issued, database_urls: DatabaseUrls
) -> None:
    await set_status(database_urls, issued, "suspended")
    await change(database_urls, "UPDATE licenses SET provisioning = 'done'")  # NextPanel never made it, or lost it
    await provisioning.align(AlignAccount(issued.license.id))


async def test_two_jobs_of_one_license_do_not_overlap(
    provisioning: Provisioning, issued: Issued, nextpanel: Simulator, database_urls: DatabaseUrls
) -> None:
    await provisioning.provision(Provision(issued.license.id))
    await set_status(database_urls, issued, "suspended")
    await nextpanel.fault("delay", delay_ms=300)
    results = await asyncio.gather(
        *(provisioning.align(AlignAccount(issued.license.id)) for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["NoneType", "Retryable"]
    assert len(await nextpanel.requests()) == 2


async def test_a_suspension_before_the_account_exists_is_made_up_for(
    provisioning: Provisioning, issued: Issued, nextpanel: Simulator, database_urls: DatabaseUrls
) -> None:
    await set_status(database_urls, issued, "suspended")
    await provisioning.align(AlignAccount(issued.license.id))
    assert len(await jobs_of(database_urls, "provision")) == 2
    await provisioning.provision(Provision(issued.license.id))
    assert len(await jobs_of(database_urls, "align_account")) == 1
    await provisioning.align(AlignAccount(issued.license.id))
    assert await status_of(nextpanel, issued.license.id) == "suspended"


async def test_a_cancellation_also_ends_an_account_nobody_was_told_of(
    provisioning: Provisioning, issued: Issued, nextpanel: Simulator, database_urls: DatabaseUrls
) -> None:
    await nextpanel.fault("drop_after_effect")
    with pytest.raises(Retryable):
        await provisioning.provision(Provision(issued.license.id))
    await set_status(database_urls, issued, "cancelled")
    await provisioning.align(AlignAccount(issued.license.id))
    assert await status_of(nextpanel, issued.license.id) == "terminated"


async def test_ending_what_never_was_is_no_failure(
    provisioning: Provisioning, issued: Issued, nextpanel: Simulator, database_urls: DatabaseUrls
) -> None:
    await set_status(database_urls, issued, "cancelled")
    await provisioning.align(AlignAccount(issued.license.id))
    assert [request["path"].rpartition("/")[2] for request in await nextpanel.requests()] == ["terminate"]
    await nextpanel.fault("status", status=403)
    with pytest.raises(PartnerRefused):
        await provisioning.align(AlignAccount(issued.license.id))


async def test_a_license_bought_again_gets_another_account_once(
    provisioning: Provisioning, issued: Issued, nextpanel: Simulator, database_urls: DatabaseUrls
) -> None:
    """Also where the former account's end has not reached NextPanel yet, and where an answer gets lost."""
    await provisioning.provision(Provision(issued.license.id))
    first = await nextpanel.account(issued.license.id)
    again = "provisioning = 'pending', account_generation = 1, account_order = NULL, nextpanel_user_id = NULL"
    await change(database_urls, f"UPDATE licenses SET {again}")
    await nextpanel.fault("drop_after_effect")
    with pytest.raises(Retryable):
        await provisioning.provision(Provision(issued.license.id))
    await nextpanel.fault("drop_after_effect", path="/api/v1/nextpanel/provision")
    with pytest.raises(Retryable):
        await provisioning.provision(Provision(issued.license.id))
    await provisioning.provision(Provision(issued.license.id))
    second = await nextpanel.account(issued.license.id)
    assert first is not None
    assert second is not None
    assert second["nextpanel_account_id"] != first["nextpanel_account_id"]
    assert (second["status"], second["effects"]) == ("active", 1)
    license_ = await the_license(database_urls, issued)
    assert str(license_["nextpanel_user_id"]) == second["nextpanel_account_id"]
    assert len(await rows(database_urls, "SELECT 1 FROM mails")) == 2
