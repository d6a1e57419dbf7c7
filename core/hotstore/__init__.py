"""Hot store: the Redis read model of licenses and API keys. Keys, codec, functions, and the clients that use them."""
