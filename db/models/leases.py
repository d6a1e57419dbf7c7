"""Leases as they were signed, and the public keys to check them with."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql import func

from db.models.columns import BigInt, Table


class LeaseRow(Table):
    """The one lease of a licence: of which version it speaks, and until when. A licence that does not stand has none.

    Kept so that an emptied Redis is filled again without signing anything.
    """

    __tablename__ = "leases"

    license_id: Mapped[UUID] = mapped_column(ForeignKey("licenses.id"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    version: Mapped[BigInt]
    not_after: Mapped[datetime]
    token: Mapped[str]
    kid: Mapped[str]
    signed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class LeaseKey(Table):
    """A public key of leases, told to the world until the last lease that it may have signed is of no more use."""

    __tablename__ = "lease_keys"

    kid: Mapped[str] = mapped_column(primary_key=True)
    public_key: Mapped[bytes]
    published_until: Mapped[datetime]
