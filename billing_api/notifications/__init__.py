"""Notifications: mails are queued, rendered and delivered. No controller: other rooms call them."""
