"""Who pays once a year is told before: once for each period, and not who leaves."""

from datetime import datetime, timedelta

import pytest

from billing_api.commerce.dunning.renewal_notices import RenewalNotices
from db.unit_of_work import Database
from tests.billing_api.conftest import Buying, FakeTime
from tests.support.databases import rows
from tests.support.servers import DatabaseUrls

pytestmark = [pytest.mark.usefixtures("on_sale"), pytest.mark.calendar]


@pytest.fixture
def notices(database: Database, clock: FakeTime) -> RenewalNotices:
    return RenewalNotices(database, clock)


async def test_once_for_each_year(
    buyer: Buying, notices: RenewalNotices, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    one = await buyer("Starter", interval="year")
    for _ in range(2):
        end = datetime.fromisoformat((await one.subscription())["current_period_end"])
        assert await notices.next_due() == end - timedelta(days=30)
        clock.now = end - timedelta(days=30, seconds=1)
        assert await notices.send_due() == 0
        clock.now = end - timedelta(days=30)
        assert [await notices.send_due() for _ in range(2)] == [1, 0]
        assert await notices.next_due() is None
        await one.later(2 * 3600)
        clock.now = end + timedelta(hours=2)
        await one.told()
        one.sign_in()
    mails = await rows(database_urls, "SELECT parameters FROM mails WHERE template = 'renewal_notice'")
    assert [mail["parameters"]["amount"] for mail in mails] == ["290.00 USD"] * 2
    assert len({mail["parameters"]["renewal_on"] for mail in mails}) == 2


async def test_neither_who_pays_by_month_nor_who_leaves(
    buyer: Buying, notices: RenewalNotices, clock: FakeTime
) -> None:
    monthly, leaving = await buyer("Starter"), await buyer("Starter", interval="year")
    await leaving.done("cancel")
    for one in (monthly, leaving):
        one.sign_in()
        clock.now = datetime.fromisoformat((await one.subscription())["current_period_end"]) - timedelta(days=1)
        assert await notices.send_due() == 0
