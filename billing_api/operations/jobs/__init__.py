"""The outbox for admins: waiting, done and dead jobs, and a retry of a dead one."""
