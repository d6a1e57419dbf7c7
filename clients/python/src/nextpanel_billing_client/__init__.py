"""Client of NextPanel billing: `client.BillingClient` asks and reports, `answers` has its results and exceptions."""
