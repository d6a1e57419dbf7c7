CREATE OR REPLACE VIEW license_events WITH (security_barrier) AS
    SELECT audit_log.id, licenses.id AS license_id, audit_log.at, audit_log.action,
        CASE WHEN audit_log.actor_id IS NULL THEN 'system'
             WHEN audit_log.actor_id = licenses.user_id THEN 'owner' ELSE 'staff' END AS actor,
        (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(audit_log.detail)
         WHERE key IN ('plan', 'reason', 'before', 'after', 'key_id', 'name', 'permissions', 'expires_at',
                       'overlap_seconds', 'instance_id')) AS detail
    FROM licenses
    JOIN audit_log ON audit_log.target_kind = 'license' AND audit_log.target_id = licenses.id::text
    WHERE licenses.user_id = (SELECT np_current_user());
ALTER TABLE licenses DROP COLUMN status_message;
