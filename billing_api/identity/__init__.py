"""Identity: accounts, sign-in, sessions, second factors, and the OAuth clients of customers.

A sign-in, step by step:

1. Caller: network, browser, and the device cookie of an earlier sign-in. Only `billing_api/access/client_address.py`
   knows the address.
2. A place in the hashing queue, or 503 (`credentials/password_hashing.py`).
3. The guess is counted for this account and this guesser, and committed; over the limit it is 429. Unknown accounts
   are counted alike (`credentials/password_check.py`, `login_throttle/`).
4. The password is hashed and compared in a thread, outside of any transaction. For an unknown account a dummy hash is
   compared, so that both take the same time.
5. The user's row is locked and read again, and the guess is taken back. With a second factor the answer is a
   challenge, and `auth/mfa` gives the session for challenge and code (`second_factor/challenges.py`). Otherwise
   session, tokens and device cookie are made (`sessions/sign_in.py`).

Routes that show a secret or give power away declare `step_up=True`: they need a sign-in of the last five minutes,
which `step_up/` renews within a session. Forgotten passwords, and changes of password and address, are in
`credentials/`.
"""
