"""Usage history: use of a license over time, by hour or day, straight from the reports."""
