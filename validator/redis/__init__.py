"""Connections to Redis: the protocol (RESP), pipelines, the fence, and the addresses of servers."""
