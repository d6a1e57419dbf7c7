"""List of all sealed columns: every place in the database with an encrypted secret (core/crypto/sealing.py).

A rotation of the key-encryption key visits what is listed here and nothing else. So what is missing here cannot be
opened any more once the old key is gone. A test walks the models: each binary column is either listed, or is of a kind
that holds no secret.

`context` binds a value to its place, by the columns of its row: the same words as where it is sealed.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import ARRAY, ColumnElement, LargeBinary, Table, Text, func, literal
from sqlalchemy.dialects.postgresql import JSONB

from db.models.all_tables import METADATA


class SealedColumn(NamedTuple):
    table: str
    column: str
    context: str
    """Takes the columns of the row by name: `licenses.license_key:{id}`."""
    field: str | None = None
    """In a JSON column: the field that holds the value, in base64."""

    @property
    def name(self) -> str:
        return f"{self.table}.{self.column}" + (f".{self.field}" if self.field else "")

    @property
    def of(self) -> Table:
        return METADATA.tables[self.table]

    @property
    def value(self) -> ColumnElement[bytes]:
        """The sealed value, NULL where the row has none."""
        column = self.of.c[self.column]
        return column if self.field is None else func.decode(column[self.field].astext, "base64", type_=LargeBinary())

    def holding(self, sealed: ColumnElement[bytes]) -> ColumnElement[Any]:
        """The column's new value, with another sealed value in it."""
        if self.field is None:
            return sealed
        text = func.translate(func.encode(sealed, "base64"), "\n", "")  # encode() breaks lines, and readers take none
        path = literal([self.field], ARRAY(Text()))
        return func.jsonb_set(self.of.c[self.column], path, func.to_jsonb(text), type_=JSONB())

    def context_of(self, row: Mapping[str, Any]) -> str:
        return self.context.format_map(row)


SEALED: Final = (
    SealedColumn("licenses", "license_key", "licenses.license_key:{id}"),
    SealedColumn("api_keys", "secret", "api_key:{key_id}"),
    SealedColumn("api_keys", "previous_secret", "api_key:{key_id}"),
    SealedColumn("idempotency_keys", "answer", "idempotency_keys.answer:{scope}:{key}"),
    SealedColumn("mails", "parameters", "mails.token", field="token_sealed"),
    SealedColumn("outbox", "job", "outbox.mail_reset_link", field="email_sealed"),
    SealedColumn("totp_factors", "secret", "totp_factors.secret:{user_id}"),
)
