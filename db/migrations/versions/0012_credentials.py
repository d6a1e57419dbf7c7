"""Counted guesses at passwords, changes of e-mail address, and a look at how many mails an address was sent."""

from alembic import op

from db.migrations.sql import run_file

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_file("0012_credentials.sql")


def downgrade() -> None:
    op.execute("DROP INDEX ix_mails_recipient")
    op.execute("DROP TABLE email_changes")
    op.execute("DROP TABLE guess_counts")
