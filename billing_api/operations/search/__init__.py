"""Search for staff: users, licenses and what Stripe knows of them, by whatever somebody has at hand."""
