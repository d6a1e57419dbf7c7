CREATE TABLE guess_counts (
    account BYTEA NOT NULL,
    guesser BYTEA NOT NULL,
    guesses INTEGER DEFAULT 0 NOT NULL,
    counted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    not_before TIMESTAMP WITH TIME ZONE NOT NULL,
    refused_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_guess_counts PRIMARY KEY (account, guesser)
);
CREATE INDEX ix_guess_counts_counted_at ON guess_counts (counted_at);

CREATE TABLE email_changes (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    old_email TEXT NOT NULL,
    new_email TEXT NOT NULL,
    confirm_hash BYTEA NOT NULL,
    undo_hash BYTEA,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    confirmed_at TIMESTAMP WITH TIME ZONE,
    undo_until TIMESTAMP WITH TIME ZONE,
    closed_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_email_changes PRIMARY KEY (id),
    CONSTRAINT uq_email_changes_confirm_hash UNIQUE (confirm_hash),
    CONSTRAINT uq_email_changes_undo_hash UNIQUE (undo_hash),
    CONSTRAINT fk_email_changes_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_email_changes_user_id ON email_changes (user_id);

CREATE INDEX ix_mails_recipient ON mails (lower(recipient), created_at);

-- Sign-in's own business: no customer and no member of staff reads how often somebody guessed, or a link's hash.
GRANT SELECT, INSERT, UPDATE, DELETE ON guess_counts, email_changes TO np_system;

ALTER TABLE email_changes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON email_changes TO np_customer USING (user_id = (SELECT np_current_user()))
    WITH CHECK (user_id = (SELECT np_current_user()));
CREATE POLICY every_row ON email_changes TO np_staff, np_system USING (true) WITH CHECK (true);
