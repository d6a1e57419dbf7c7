DROP INDEX ix_outbox_unsent_mail;
DROP TRIGGER raise_version ON api_keys;
CREATE TRIGGER raise_version BEFORE UPDATE ON api_keys FOR EACH ROW
    WHEN (to_jsonb(OLD) - 'last_used_at' IS DISTINCT FROM to_jsonb(NEW) - 'last_used_at')
    EXECUTE FUNCTION np_raise_version();
ALTER TABLE api_keys DROP COLUMN last_used_address;
REVOKE SELECT ON projection_epoch FROM np_staff;
REVOKE SELECT (user_id, used_at, created_at) ON recovery_codes FROM np_staff;
REVOKE SELECT (user_id, started_at, confirmed_at, blocked_until) ON totp_factors FROM np_staff;
REVOKE SELECT (id, user_id, user_agent, address, amr, authenticated_at, created_at, last_seen_at, expires_at, revoked_at)
    ON sessions FROM np_staff;
REVOKE SELECT (id, user_id, recipient, template, created_at, sent_at) ON mails FROM np_staff;
DROP TABLE customer_note_versions;
DROP TABLE customer_notes;
