"""Customers of seeded licenses. Their addresses mark them as seeded, and find them again."""

import secrets
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from argon2 import PasswordHasher

from core.clock import utc_now
from core.ids import new_id
from core.mailbox import mailbox_key

DOMAIN_NAME: Final = "seeded.nextpanel.example"
PATTERN: Final = f"%@{DOMAIN_NAME}"
"""For LIKE: every seeded customer of every run."""

_COLUMNS: Final = ("id", "email", "email_key", "password_hash", "full_name", "role", "email_verified_at", "is_active")


class Customer(NamedTuple):
    id: UUID
    email: str
    password: str


async def create(connection: Any, number: int) -> Sequence[Customer]:
    """So many customers who can sign in. They share a password, because each hash takes tens of milliseconds."""
    password = secrets.token_urlsafe(18)
    # The costs of billing_api/identity/credentials/password_hashing.py: with others every sign-in would hash anew.
    password_hash = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(password)
    customers = [
        Customer(made, f"customer-{made.hex}@{DOMAIN_NAME}", password) for made in (new_id() for _ in range(number))
    ]
    now = utc_now()
    records = [
        (
            customer.id,
            customer.email,
            mailbox_key(customer.email),
            password_hash,
            f"Seeded Customer {place}",
            "customer",
            now,
            True,
        )
        for place, customer in enumerate(customers, 1)
    ]
    await connection.copy_records_to_table("users", records=records, columns=_COLUMNS)
    return customers
