-- Notes of staff about a customer. A note that was edited or deleted leaves its former texts in the second table: the audit
-- trail says who did it and when, but it can never be erased, so it holds no text.
CREATE TABLE customer_notes (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    author_id UUID NOT NULL,
    editor_id UUID,
    body TEXT NOT NULL,
    is_pinned BOOLEAN DEFAULT false NOT NULL,
    version INTEGER DEFAULT 1 NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_customer_notes PRIMARY KEY (id),
    CONSTRAINT fk_customer_notes_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT fk_customer_notes_author_id FOREIGN KEY(author_id) REFERENCES users (id),
    CONSTRAINT fk_customer_notes_editor_id FOREIGN KEY(editor_id) REFERENCES users (id)
);
CREATE INDEX ix_customer_notes_user_id_created_at_id ON customer_notes (user_id, created_at, id);

CREATE TABLE customer_note_versions (
    note_id UUID NOT NULL,
    version INTEGER NOT NULL,
    user_id UUID NOT NULL,
    author_id UUID NOT NULL,
    body TEXT NOT NULL,
    written_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_customer_note_versions PRIMARY KEY (note_id, version),
    CONSTRAINT fk_customer_note_versions_note_id FOREIGN KEY(note_id) REFERENCES customer_notes (id) ON DELETE CASCADE,
    CONSTRAINT fk_customer_note_versions_user_id FOREIGN KEY(user_id) REFERENCES users (id),
    CONSTRAINT fk_customer_note_versions_author_id FOREIGN KEY(author_id) REFERENCES users (id)
);
CREATE INDEX ix_customer_note_versions_user_id ON customer_note_versions (user_id);

-- No policy and no grant for the customer whom a note is about.
ALTER TABLE customer_notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY every_row ON customer_notes TO np_staff, np_system USING (true) WITH CHECK (true);
ALTER TABLE customer_note_versions ENABLE ROW LEVEL SECURITY;
CREATE POLICY every_row ON customer_note_versions TO np_staff, np_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON customer_notes, customer_note_versions TO np_system;
GRANT SELECT, INSERT ON customer_notes, customer_note_versions TO np_staff;
GRANT UPDATE (body, is_pinned, version, editor_id, updated_at, deleted_at) ON customer_notes TO np_staff;

-- What support needs to know of mails, sign-ins and second factors: never what opens something, or is compared with it.
GRANT SELECT (id, user_id, recipient, template, created_at, sent_at) ON mails TO np_staff;
GRANT SELECT (id, user_id, user_agent, address, amr, authenticated_at, created_at, last_seen_at, expires_at, revoked_at)
    ON sessions TO np_staff;
GRANT SELECT (user_id, started_at, confirmed_at, blocked_until) ON totp_factors TO np_staff;
GRANT SELECT (user_id, used_at, created_at) ON recovery_codes TO np_staff;
GRANT SELECT ON projection_epoch TO np_staff;

-- Where a key was last used from, which is no change that validators must hear of, as when it was is none.
ALTER TABLE api_keys ADD COLUMN last_used_address TEXT;
DROP TRIGGER raise_version ON api_keys;
CREATE TRIGGER raise_version BEFORE UPDATE ON api_keys FOR EACH ROW
    WHEN (to_jsonb(OLD) - 'last_used_at' - 'last_used_address'
          IS DISTINCT FROM to_jsonb(NEW) - 'last_used_at' - 'last_used_address')
    EXECUTE FUNCTION np_raise_version();

-- The job of a mail that has not left: waiting, or parked. Sent ones are not in it, so it stays small.
CREATE INDEX ix_outbox_unsent_mail ON outbox ((job ->> 'mail_id'))
    WHERE job ->> 'type' = 'deliver_mail' AND done_at IS NULL;
