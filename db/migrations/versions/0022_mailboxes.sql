ALTER TABLE users ADD COLUMN email_key TEXT;
ALTER TABLE mails ADD COLUMN recipient_key TEXT;

-- What the application works out (core/mailbox.py), as far as the database can: right for letters of ASCII, and for rows
-- that are written by a program that does not know of these columns.
CREATE FUNCTION np_mailbox_key(address text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lower(normalize(address, NFKC))
$$;

UPDATE users SET email_key = np_mailbox_key(email);
UPDATE mails SET recipient_key = np_mailbox_key(recipient);
