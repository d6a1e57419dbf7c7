"""Runs of reconciliation as staff see them."""

from uuid import uuid4

import pytest

from billing_api.operations.reconciliation import repository
from billing_api.operations.reconciliation.repository import FoundDifference
from db.models.identity import Role
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.support.people import Desk

PATH = "/api/v1/admin/reconciliation"


@pytest.mark.parametrize("role", [Role.ADMIN, Role.SUPPORT])
async def test_runs_are_listed_newest_first_and_shown_with_what_they_found(
    client: Client, desk: Desk, database: Database, role: Role
) -> None:
    staff = await desk.staff(role)
    license_id = uuid4()
    found = [
        FoundDifference("total", "wrong", "ab", license_id, expected="domains=2/1:7", found="domains=9/1:7"),
        FoundDifference("license", "missing", "cd"),
    ]
    async with database.as_system() as tx:
        first = await repository.begin_run(tx, "command")
        ids = await repository.record(tx, first, found)
        await repository.note_outcome(tx, ids[:1], "repaired")
        await repository.end_run(tx, first, "differing", {"licenses": 10, "differences": 2, "repaired": 1})
    async with database.as_system() as tx:
        second = await repository.begin_run(tx, "schedule")
    listed = (await client.get(PATH, headers=staff)).json()
    assert [(item["id"], item["state"]) for item in listed["items"]] == [
        (str(second), "running"),
        (str(first), "differing"),
    ]
    assert listed["items"][0]["seconds"] is None
    shown = (await client.get(f"{PATH}/{first}", headers=staff)).json()
    assert (shown["run"]["licenses"], shown["run"]["differences"], shown["run"]["repaired"]) == (10, 2, 1)
    assert shown["run"]["seconds"] >= 0
    assert shown["differences"]["total"] == 2
    assert [(one["subject"], one["outcome"]) for one in shown["differences"]["items"]] == [
        ("license", "found"),
        ("total", "repaired"),
    ]
    assert shown["differences"]["items"][1]["license_id"] == str(license_id)
    one = (await client.get(f"{PATH}/{first}?limit=1&offset=1", headers=staff)).json()
    assert [item["subject"] for item in one["differences"]["items"]] == ["total"]


async def test_they_are_no_customers_business(client: Client, desk: Desk) -> None:
    customer = await desk.a_customer()
    for path in (PATH, f"{PATH}/{uuid4()}"):
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, headers=customer)).status_code == 403


async def test_a_run_that_never_was_is_not_found(client: Client, desk: Desk) -> None:
    answer = await client.get(f"{PATH}/{uuid4()}", headers=await desk.staff())
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
