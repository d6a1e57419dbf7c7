"""Mirror of Stripe: copies Stripe's objects into our rows. A license is issued here, when its invoice is paid."""
