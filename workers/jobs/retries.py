"""Retries of jobs, mails among them: exponential backoff with jitter, for about a day.

A job is tried again after about 1, 2, 4 … seconds, then every five minutes. It is given up after its kind's last
attempt, or as soon as a partner refuses for good. A job that was given up is dead: it stays for an admin, who may have
it tried again.
"""

import random
from typing import Final

from billing_api.gateways.http_client import PartnerRefused
from core.errors import Refusal

ABOUT_A_DAY: Final = 390
"""Attempts that fit into a day at the pauses below."""

_LONGEST_PAUSE: Final = 300.0


def is_last(attempt: int, attempts: int, failure: Exception) -> bool:
    """Whether a job is given up after this failure; `attempts`: how many its kind has."""
    return isinstance(failure, PartnerRefused) or attempt >= attempts


def pause(attempt: int, failure: Exception) -> float:
    """Seconds until the next attempt: about 1, 2, 4 … 300, spread, and never less than a partner asked for."""
    asked = failure.retry_after if isinstance(failure, Refusal) else None
    doubled = min(2.0 ** min(attempt - 1, 20), _LONGEST_PAUSE)
    return max(doubled * random.uniform(0.5, 1), asked or 0)  # noqa: S311  spreads retries, guards nothing
