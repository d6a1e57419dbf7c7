-- Every total can be added up again from its events: they are numbered in the order they changed it.
ALTER TABLE usage_events ADD COLUMN seq BIGINT;
UPDATE usage_events SET seq = numbered.seq
    FROM (SELECT id, row_number() OVER (PARTITION BY license_id, resource ORDER BY created_at, id) AS seq
          FROM usage_events) AS numbered
    WHERE numbered.id = usage_events.id;
ALTER TABLE usage_events ALTER COLUMN seq SET NOT NULL;

ALTER TABLE license_usage ADD COLUMN events BIGINT DEFAULT 0 NOT NULL;
UPDATE license_usage SET events = counted.events
    FROM (SELECT license_id, resource, count(*) AS events FROM usage_events GROUP BY license_id, resource) AS counted
    WHERE (counted.license_id, counted.resource) = (license_usage.license_id, license_usage.resource);

-- Written with the event, taken away by the relay as it applies the total: rows live for some milliseconds.
CREATE TABLE hold_settlements (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    license_id UUID NOT NULL,
    resource TEXT NOT NULL,
    reservation_id TEXT NOT NULL,
    CONSTRAINT pk_hold_settlements PRIMARY KEY (id)
);
CREATE INDEX ix_hold_settlements_license_id ON hold_settlements (license_id);

GRANT SELECT, INSERT, DELETE ON hold_settlements TO np_system;
