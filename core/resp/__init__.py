"""RESP3, the protocol of Redis: one connection for a whole process, with many commands in flight."""
