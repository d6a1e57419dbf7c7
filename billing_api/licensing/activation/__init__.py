"""License activation: a panel exchanges license key and token for an API key of its own.

1. The owner makes a token: `POST /api/v1/licenses/{id}/activation-tokens`. It is shown once and kept as a keyed hash.
2. The panel sends license key, token and fingerprint to `POST /api/v1/nextpanel/activate`. The key's checksum refuses
   a mistyped one. Under the license's lock the token is used up, the panel gets an id and is bound, and its API key is
   written. A bound license is activated only for its own fingerprint: 422 without one, 409 with another.
3. Triggers have written outbox rows for license and key. The relay applies both to Redis, and Redis pushes the change
   to the validators (`workers/projection/records.py`, `validator/store/keyring.py`).
4. The owner rotates or revokes the key, frees the license for another panel, or rotates the license's own key. Each
   change reaches the validators in the same way (`billing_api/licensing/api_keys/`,
   `billing_api/licensing/licenses/`).
5. Each of these has written a row to the audit trail in its transaction, which a worker seals into the chain.
"""
