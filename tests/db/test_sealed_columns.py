"""The list of sealed columns: complete, and right about the place of each value."""

from sqlalchemy import LargeBinary

from db.models.all_tables import METADATA
from db.sealed_columns import SEALED

NO_SECRETS = {
    "lease_keys.public_key": "told to the world",
    "audit_seals.seal": "a MAC, shown as an anchor",
    "guess_counts.account": "a keyed hash",
    "guess_counts.guesser": "a keyed hash",
    "sign_in_challenges.password_mark": "a keyed hash of a hash",
}
"""Binary columns that are neither sealed nor hashes, each with its reason."""


def test_every_binary_column_is_sealed_or_no_secret() -> None:
    listed = {(one.table, one.column) for one in SEALED}
    forgotten = [
        f"{table.name}.{column.name}"
        for table in METADATA.sorted_tables
        for column in table.c
        if isinstance(column.type, LargeBinary)
        and not column.name.endswith("_hash")
        and (table.name, column.name) not in listed
        and f"{table.name}.{column.name}" not in NO_SECRETS
    ]
    assert forgotten == [], "add a line to db/sealed_columns.py, or say above why it is no secret"


def test_what_is_listed_is_there_once() -> None:
    assert len({one.name for one in SEALED}) == len(SEALED)
    for one in SEALED:
        assert one.column in one.of.c
        assert (one.field is None) == isinstance(one.of.c[one.column].type, LargeBinary)
        one.context_of(dict.fromkeys(one.of.c.keys(), "x"))
    for name in NO_SECRETS:
        table, _, column = name.partition(".")
        assert column in METADATA.tables[table].c
