"""The audit trail: searched by admins, shown to owners as far as it concerns their licenses, sealed into a chain."""
