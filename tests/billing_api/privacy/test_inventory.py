"""Privacy inventory: it names every table with personal data, and every column of it."""

from collections import Counter
from typing import Final

import pytest

from billing_api.privacy.inventory import ELSEWHERE, HOLDINGS, Fate, Holding
from db.models.all_tables import METADATA

OF_NOBODY: Final = {
    "audit_seals",
    "audit_unsealed",
    "billing_settings",
    "hold_settlements",
    "inbox",
    "dunning_steps",
    "lease_keys",
    "payment_intents",
    "plan_prices",
    "plans",
    "projection_epoch",
    "reconciliation_differences",
    "reconciliation_runs",
    "service_accounts",
    "stripe_event_cursor",
}
"""Rows of these tables refer to a user only through another table."""


def test_every_table_is_on_one_of_the_lists_and_nothing_else_is() -> None:
    listed = [holding.table for holding in HOLDINGS]
    assert Counter([*listed, *ELSEWHERE, *OF_NOBODY]) == Counter(list(METADATA.tables))


def test_what_belongs_to_a_user_is_not_called_nobodys() -> None:
    owned = {table.name for table in METADATA.sorted_tables if "user_id" in table.c}
    assert owned | {"users"} == {holding.table for holding in HOLDINGS}


@pytest.mark.parametrize("holding", HOLDINGS, ids=lambda holding: holding.table)
def test_every_column_is_shown_or_withheld_for_a_reason(holding: Holding) -> None:
    withheld = [column for columns in holding.withheld.values() for column in columns.split()]
    columns = {column.name for column in METADATA.tables[holding.table].c} - {"user_id"}
    assert Counter([*holding.shown.split(), *withheld]) == Counter(columns)
    assert all(holding.withheld)


@pytest.mark.parametrize("holding", HOLDINGS, ids=lambda holding: holding.table)
def test_no_bytes_and_no_secret_is_shown(holding: Holding) -> None:
    table = METADATA.tables[holding.table]
    shown = holding.shown.split()
    assert [name for name in shown if table.c[name].type.python_type is bytes] == []
    assert [name for name in shown if "hash" in name or "secret" in name or "token" in name] == []


def test_whatever_lets_somebody_in_is_erased() -> None:
    lets_in = {"sessions", "totp_factors", "recovery_codes", "sign_in_challenges", "one_time_tokens", "oauth_clients"}
    lets_in.add("registrations")
    assert lets_in < {holding.table for holding in HOLDINGS if holding.fate is Fate.ERASED}
