"""Usage history (time series): usage of a license by hour or day, computed from its reports."""
