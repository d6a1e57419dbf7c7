"""Sign-ins: which of them live, as every request asks; listed and ended by their owner."""
