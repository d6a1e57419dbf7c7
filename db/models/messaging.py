"""Transactional messaging: outbox, inbox, idempotency keys, webhooks, mails, the audit trail.

These tables make each effect happen once: their rows commit with the change that they belong to.
"""

import enum
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column

from core.mailbox import mailbox_key
from db.models.columns import BigInt, CreatedAt, RowId, Table, enum_type

JobState = Literal["waiting", "done", "dead"]


class OutboxRow(Table):
    """A job: written in the transaction of the change that causes it, performed at least once after the commit."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_waiting", "lane", "due_at", postgresql_where=text("done_at IS NULL AND dead_at IS NULL")),
        Index("ix_outbox_kind", text("(job ->> 'type')"), "id", postgresql_where=text("lane = 'partner'")),
        Index("ix_outbox_dead", "id", postgresql_where=text("dead_at IS NOT NULL")),
        Index("ix_outbox_created_at", "created_at"),
        Index(
            "ix_outbox_unsent_mail",
            text("(job ->> 'mail_id')"),
            postgresql_where=text("job ->> 'type' = 'deliver_mail' AND done_at IS NULL"),
        ),
        CheckConstraint("lane IN ('projection', 'partner')", name="lane"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    lane: Mapped[str]
    job: Mapped[dict[str, Any]]
    created_at: Mapped[CreatedAt]
    due_at: Mapped[CreatedAt]
    attempts: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    last_error: Mapped[str | None]
    done_at: Mapped[datetime | None]
    dead_at: Mapped[datetime | None]

    def pauses(self, now: datetime) -> bool:
        """Whether it waits after a failure. A claim also moves `due_at`, but clears the last error."""
        return self.state == "waiting" and self.last_error is not None and self.due_at > now

    @property
    def state(self) -> JobState:
        if self.dead_at is not None:
            return "dead"
        return "waiting" if self.done_at is None else "done"


class InboxRow(Table):
    """An external message that was handled: (source, key) commits with the work that it caused."""

    __tablename__ = "inbox"

    source: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[CreatedAt]


class IdempotencyKey(Table):
    """A client's Idempotency-Key with its answer; commits with the work that it protects."""

    __tablename__ = "idempotency_keys"

    scope: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id"), index=True)
    body_hash: Mapped[bytes]
    status_code: Mapped[int | None]
    answer: Mapped[bytes | None]
    created_at: Mapped[CreatedAt]


class WebhookSource(enum.StrEnum):
    """Who sent an event."""

    STRIPE = "stripe"
    REGISTRAR = "registrar"


class WebhookEvent(Table):
    """A verified event as received; a job handles it later, by reading the object that it names."""

    __tablename__ = "webhook_events"
    __table_args__ = (
        UniqueConstraint("source", "source_event_id"),
        Index("ix_webhook_events_unprocessed", "created_at", postgresql_where=text("NOT processed")),
        Index("ix_webhook_events_customer", text("np_event_customer(payload)")),
        Index("ix_webhook_events_created_at", "created_at", "id"),
        Index("ix_webhook_events_event_type", "event_type", "created_at", "id"),
    )

    id: Mapped[RowId]
    event_type: Mapped[str]
    source: Mapped[WebhookSource] = mapped_column(enum_type(WebhookSource, "webhook_source"))
    source_event_id: Mapped[str]
    payload: Mapped[dict[str, Any]]
    processed: Mapped[bool] = mapped_column(default=False)
    processed_at: Mapped[datetime | None]
    error_message: Mapped[str | None]
    created_at: Mapped[CreatedAt]


class StripeEventCursor(Table):
    """One row, or none: up to which instant Stripe's list of events was read, and when all customers were walked."""

    __tablename__ = "stripe_event_cursor"
    __table_args__ = (CheckConstraint("only_row", name="only_row"),)

    only_row: Mapped[bool] = mapped_column(primary_key=True, default=True, server_default=text("true"))
    read_until: Mapped[datetime]
    walked_at: Mapped[datetime | None]


def _key_of_recipient(context: DefaultExecutionContext) -> str:
    return mailbox_key(context.get_current_parameters()["recipient"])  # type: ignore[no-untyped-call]  # SQLAlchemy's own


class Mail(Table):
    """A mail that is sent once. `key` is its deduplication key; the row's id is the relay's idempotency key.

    The body is rendered when it is sent. Until then a token is sealed in `parameters`.
    """

    __tablename__ = "mails"
    __table_args__ = (Index("ix_mails_recipient_key", "recipient_key", "created_at"),)

    id: Mapped[RowId]
    key: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    recipient: Mapped[str]
    recipient_key: Mapped[str] = mapped_column(default=_key_of_recipient)
    """The canonical form of the address: the hourly limit of mails for one mailbox is counted by it."""
    template: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    sent_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]


class AuditRow(Table):
    """A privileged action, written in its transaction. Rows are never changed or deleted."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_target", "target_kind", "target_id"), Index("ix_audit_log_at", "at"))

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[CreatedAt]
    actor_id: Mapped[UUID | None] = mapped_column(index=True)
    action: Mapped[str] = mapped_column(index=True)
    target_kind: Mapped[str]
    target_id: Mapped[str]
    detail: Mapped[dict[str, Any]]
    request_id: Mapped[str | None]


class ProjectionEpoch(Table):
    """One row. A restore from a backup raises the epoch, so that PostgreSQL's state replaces every record in Redis."""

    __tablename__ = "projection_epoch"
    __table_args__ = (CheckConstraint("only_row", name="only_row"),)

    only_row: Mapped[bool] = mapped_column(primary_key=True, default=True)
    epoch: Mapped[BigInt]
