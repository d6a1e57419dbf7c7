-- One mailbox's addresses may be spelled differently by each who registers it. Links that were mailed before went to the
-- account's spelling.
ALTER TABLE registrations ADD COLUMN email TEXT;
UPDATE registrations SET email = users.email FROM users WHERE users.id = registrations.user_id;
ALTER TABLE registrations ALTER COLUMN email SET NOT NULL;
