"""HTTP/1.1: the parser, connections, routes, and what every answer looks like."""
