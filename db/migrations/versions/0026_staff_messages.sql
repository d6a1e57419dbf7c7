-- `status_reason` is for staff alone from now on. No row is rewritten: what staff wrote before was not meant as a message,
-- and that a subscription ended is in the license's events.
ALTER TABLE licenses ADD COLUMN status_message TEXT;

-- The reason of staff is not shown any more, the message is. What the application or the owner wrote as a reason was a
-- message all along.
CREATE OR REPLACE VIEW license_events WITH (security_barrier) AS
    SELECT audit_log.id, licenses.id AS license_id, audit_log.at, audit_log.action,
        CASE WHEN audit_log.actor_id IS NULL THEN 'system'
             WHEN audit_log.actor_id = licenses.user_id THEN 'owner' ELSE 'staff' END AS actor,
        (SELECT coalesce(jsonb_object_agg(CASE key WHEN 'reason' THEN 'message' ELSE key END, value), '{}')
         FROM jsonb_each(audit_log.detail)
         WHERE key IN ('plan', 'message', 'before', 'after', 'key_id', 'name', 'permissions', 'expires_at',
                       'overlap_seconds', 'instance_id')
            OR (key = 'reason' AND NOT audit_log.detail ? 'message'
                AND (audit_log.actor_id IS NULL OR audit_log.actor_id = licenses.user_id))) AS detail
    FROM licenses
    JOIN audit_log ON audit_log.target_kind = 'license' AND audit_log.target_id = licenses.id::text
    WHERE licenses.user_id = (SELECT np_current_user());
