-- As of when a change of plan is prorated: the instant of the preview that the customer has seen. NULL: when it is made.
ALTER TABLE plan_changes ADD COLUMN proration_date TIMESTAMP WITH TIME ZONE;
