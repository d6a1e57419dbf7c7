"""Payment methods: a customer's cards at Stripe, and which one is charged."""
