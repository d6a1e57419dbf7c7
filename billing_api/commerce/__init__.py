"""Commerce: plans, checkout, subscriptions, payments, and the mirror of Stripe.

Commerce imports what is sold; what is sold never imports commerce.
"""
