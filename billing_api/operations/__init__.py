"""Operations, for staff: the audit trail, jobs, received webhooks, reconciliation."""
