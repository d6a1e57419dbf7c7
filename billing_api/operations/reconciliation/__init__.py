"""Whether Redis says what Postgres says, and totals what their events say: every comparison, and what it found."""
