"""How a panel comes to its own API key: tokens that work once, the activation, and what binds a licence to a panel."""
