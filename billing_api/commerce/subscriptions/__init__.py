"""Subscriptions: their state as last read from Stripe, and a customer's changes of plan.

A change of plan, from the request to the new limits:

1. `POST …/change` mirrors the subscription, decides whether the change is an upgrade or a downgrade, and stores the
   request. Its id is the idempotency key of every call that follows (`core/licensing/plan_change.py`).
2. Stripe is called under the lock on its customer. An upgrade is a pending update that is charged now, a downgrade is a
   schedule for the next period (`billing_api/gateways/stripe/subscription_changes.py`).
3. The subscription is mirrored again, as its webhook will do, too. The plan that is billed is compared with the plan in
   force (`billing_api/commerce/stripe_mirror/plan_following.py`).
4. When the change is paid, or its date has come, the license gets the plan. Limits that staff set stay
   (`billing_api/licensing/licenses/terms.py`, `core/licensing/overrides.py`). The job that tells NextPanel is written
   in the same transaction.
5. A trigger writes the outbox row that projects the license. Usage is in another row and stays. A worker updates
   NextPanel's account.
6. If the webhook is lost, a worker reads overdue subscriptions from Stripe
   (`workers/handlers/overdue_subscriptions.py`).

A process that dies after step 1 leaves a request without effect. After step 2 the webhook does the rest. If the client
repeats the request, Stripe gets the same calls and gives the same answers.
"""
