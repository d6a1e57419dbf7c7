"""HTTP/1.1: the parser, limits, connections, routes and responses."""
