DROP TRIGGER name_recipient ON mails;
DROP FUNCTION np_name_recipient;
DROP TRIGGER name_mailbox ON users;
DROP FUNCTION np_name_mailbox;
DROP FUNCTION np_mailbox_key;

CREATE OR REPLACE FUNCTION np_keep_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.email := OLD.email;
    NEW.password_hash := OLD.password_hash;
    NEW.full_name := OLD.full_name;
    NEW.company_name := OLD.company_name;
    NEW.role := OLD.role;
    NEW.email_verified_at := OLD.email_verified_at;
    NEW.is_active := OLD.is_active;
    NEW.deleted_at := OLD.deleted_at;
    RETURN NEW;
END $$;

ALTER TABLE users DROP COLUMN email_key;
ALTER TABLE mails DROP COLUMN recipient_key;
CREATE UNIQUE INDEX uq_users_email ON users (lower(email));
CREATE INDEX ix_mails_recipient ON mails (lower(recipient), created_at);
