"""Client of NextPanel billing: `client.BillingClient` asks and reports, `answers` says what comes back."""
