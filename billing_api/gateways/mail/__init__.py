"""Mail gateway: hands rendered mails to a mail server (SMTP), or to a relay (HTTP)."""
