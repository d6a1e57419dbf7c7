"""The audit trail: searched by admins, shown to a license's owner as far as it is his, sealed into a chain."""
