"""The Redis contract: keys, codec and functions. The only place where the projection's writer and reader meet."""
