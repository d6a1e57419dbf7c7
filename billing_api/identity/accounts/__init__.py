"""People: how they register, sign in and stay signed in, and what they say about themselves."""
