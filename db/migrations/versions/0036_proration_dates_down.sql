ALTER TABLE plan_changes DROP COLUMN proration_date;
