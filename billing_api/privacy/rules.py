"""Obstacles to a deletion: something that still takes money, or still gives something. Pure."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import msgspec

PAYABLE_FOR: Final = timedelta(hours=24)
"""So long after it was opened a checkout can be paid at Stripe, where nobody told us that it was closed before."""


class Ties(msgspec.Struct, frozen=True):
    """What binds an account, counted. `last_checkout`: when the youngest open one was begun."""

    renewing: int
    live_licenses: int
    last_checkout: datetime | None


def obstacles(ties: Ties, now: datetime, *, end_licenses: bool) -> list[str]:
    """Each with what to do about it; none: the account may go."""
    return list(_obstacles(ties, now, end_licenses=end_licenses))


def _obstacles(ties: Ties, now: datetime, *, end_licenses: bool) -> Iterator[str]:
    if ties.renewing:
        yield (
            f"{ties.renewing} of your subscriptions renew: cancel each with POST /api/v1/subscriptions/{{id}}/cancel,"
            " then delete the account"
        )
    if ties.live_licenses and not end_licenses:
        yield (
            f"{ties.live_licenses} of your licenses are live: wait for their end, or send `end_licenses: true` to end"
            " them now, with the panels' accounts and with no money back"
        )
    if ties.last_checkout is not None and (payable_until := ties.last_checkout + PAYABLE_FOR) > now:
        yield (f"a payment page is open until {payable_until:%Y-%m-%d %H:%M} UTC: wait until then")
