"""Subscriptions: their state as last read from Stripe, and a customer's changes of plan.

A change of plan, from the wish to the limit:

1. `POST …/change` mirrors the subscription, judges the wish (up or down) and writes it. Its id is the idempotency key
   of every call that follows (`core/licensing/plan_change.py`).
2. Under the lock of its customer Stripe is asked: up is a pending update that is charged now, down a schedule for the
   next period (`billing_api/gateways/stripe/subscription_changes.py`).
3. The subscription is mirrored again, as its webhook will do too. The plan that is billed is compared with the plan
   in force (`billing_api/commerce/stripe_mirror/plan_following.py`).
4. When it is paid, or its day has come, the license takes the plan. Limits that staff set stay
   (`billing_api/licensing/licenses/terms.py`, `core/licensing/overrides.py`). The job to tell NextPanel is written in
   the same transaction.
5. The trigger has the license projected. Usage is another row and stays. A worker updates NextPanel's account.
6. Without a webhook, a worker looks up at Stripe what our rows say is overdue
   (`workers/handlers/overdue_subscriptions.py`).

Killed after 1: a wish without effect. After 2: the webhook does the rest, and the same request sent again asks Stripe
the same thing and gets the same answer.
"""
