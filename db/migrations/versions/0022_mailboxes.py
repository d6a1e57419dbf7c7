"""Addresses are compared by the name of their mailbox (core/mailbox.py), which is stored beside them.

Of two accounts that turn out to be one mailbox's the one that was proved first keeps the mailbox's name. The other
stays as it is, under a name that no address has, and is told in the log of this migration: docs/operations.md says what
to do.
"""

import structlog
from alembic import op
from sqlalchemy import text

from core.mailbox import mailbox_key
from db.migrations.sql import run_file

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

# All others are folded by the database alike: letters of ASCII, and no Punycode among them.
_USERS = "SELECT id, email FROM users WHERE email ~ '[^ -~]' OR email ILIKE '%xn--%'"
_MAILS = "SELECT id, recipient FROM mails WHERE recipient ~ '[^ -~]' OR recipient ILIKE '%xn--%'"


def upgrade() -> None:
    run_file("0022_mailboxes.sql")
    connection = op.get_bind()
    for user in connection.execute(text(_USERS)).all():
        key = {"id": user.id, "key": mailbox_key(user.email)}
        connection.execute(text("UPDATE users SET email_key = :key WHERE id = :id"), key)
    for mail in connection.execute(text(_MAILS)).all():
        key = {"id": mail.id, "key": mailbox_key(mail.recipient)}
        connection.execute(text("UPDATE mails SET recipient_key = :key WHERE id = :id"), key)
    for user_id in connection.execute(text(_SET_TWINS_ASIDE)).scalars():
        structlog.get_logger().warning("migration.second_account_of_a_mailbox", user_id=str(user_id))
    run_file("0022_mailboxes_checked.sql")


def downgrade() -> None:
    run_file("0022_mailboxes_down.sql")


_SET_TWINS_ASIDE = """
    WITH ranked AS (
        SELECT id, row_number() OVER (
            PARTITION BY email_key ORDER BY email_verified_at NULLS LAST, created_at, id) AS place
        FROM users
    )
    UPDATE users SET email_key = 'twin ' || users.id FROM ranked
    WHERE ranked.id = users.id AND ranked.place > 1 RETURNING users.id
"""
