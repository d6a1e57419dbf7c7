r"""OAuth 2.0 client credentials: programs read a customer's account within scopes, without the customer's password.

A client's token is of a kind of its own and is looked up at each call. Its scopes open what customers read of their
own, and nothing else:

    curl -u "$CLIENT_ID:$CLIENT_SECRET" -d grant_type=client_credentials -d scope=invoices:read \
         localhost:8001/api/v1/oauth/token
"""
