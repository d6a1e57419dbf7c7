"""Hash chain of the audit trail: a seal (chain link) for each row, and the rows that wait for one."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from db.models.columns import BigInt, Table


class AuditSeal(Table):
    """One link (core/crypto/audit_chain.py). `position` counts from 1 without a gap, in the order of sealing.

    There is no foreign key to the row: a seal whose row is missing proves that the row was deleted.
    """

    __tablename__ = "audit_seals"

    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    audit_id: Mapped[BigInt] = mapped_column(unique=True)
    seal: Mapped[bytes]
    kid: Mapped[str]
    sealed_at: Mapped[datetime]


class AuditUnsealed(Table):
    """A row of the audit trail without a seal. A trigger writes it; the transaction that seals the row deletes it."""

    __tablename__ = "audit_unsealed"

    audit_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
