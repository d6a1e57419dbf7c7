"""Mail relay: the gateway that delivers rendered mails over HTTP."""
