"""The audit trail's hash chain: a seal for each row, and which rows wait for theirs."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from db.models.columns import BigInt, Table


class AuditSeal(Table):
    """One link (core/crypto/audit_chain.py). `position` counts from 1 without a gap, in the order of sealing.

    No foreign key leads to the row: a seal whose row is gone is the evidence that it was there.
    """

    __tablename__ = "audit_seals"

    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    audit_id: Mapped[BigInt] = mapped_column(unique=True)
    seal: Mapped[bytes]
    kid: Mapped[str]
    sealed_at: Mapped[datetime]


class AuditUnsealed(Table):
    """Written by a trigger on the trail; taken away in the transaction that seals the row."""

    __tablename__ = "audit_unsealed"

    audit_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
