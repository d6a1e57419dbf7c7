-- What each report costs besides its own row. Of an event's foreign keys each looked its row up and locked it, for every
-- event; whose the event is stands already in its total, which the same transaction holds locked and which keeps its keys
-- to the licence and the user. Nobody looks for events by user: a customer's are found by his licences.
ALTER TABLE usage_events DROP CONSTRAINT fk_usage_events_license_id;
ALTER TABLE usage_events DROP CONSTRAINT fk_usage_events_user_id;
DROP INDEX ix_usage_events_user_id;

-- Totals change all the time and their indexed columns never: with room on its page a new version needs no index entry.
ALTER TABLE license_usage SET (fillfactor = 50);
