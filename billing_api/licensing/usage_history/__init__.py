"""What was used of a licence over time, by hour or day, straight from the reports."""
