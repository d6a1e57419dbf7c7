"""Login throttling: password guesses are limited per account and guesser, without locking the owner out."""
