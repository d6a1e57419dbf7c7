r"""OAuth 2.0 client credentials: programs act within scopes, without a person's password.

An OAuth client reads its owner's account. A service account is the seller's own program and does what its scopes of
staff say (service_accounts.py). Both get their tokens at one endpoint.

A client's token is of a kind of its own and is looked up at each call. Its scopes open what customers read of their
own, and nothing else:

    curl -u "$CLIENT_ID:$CLIENT_SECRET" -d grant_type=client_credentials -d scope=invoices:read \
         localhost:8001/api/v1/oauth/token
"""
