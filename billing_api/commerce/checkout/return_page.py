"""Return page: the HTML page to which Stripe's payment page sends the browser back, until there is a portal.

A file of its own, because it is a page and not a use case. Delete it when the portal replaces it.
"""

from string import Template
from typing import Final

from billing_api.commerce.checkout.service import CheckoutOutcome
from db.models.commerce import CheckoutStatus

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
}

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
$refresh<title>$title · NextPanel</title>
<style>
  body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: #f4f6fa; color: #1c2434;
         font: 16px/1.6 system-ui, sans-serif; }
  main { max-width: 28rem; margin: 1.5rem; padding: 2.5rem; background: #fff; border-radius: 14px; text-align: center;
         box-shadow: 0 12px 40px rgb(28 36 52 / 10%); }
  .mark { width: 3.5rem; height: 3.5rem; margin: 0 auto 1rem; border-radius: 50%; display: grid; place-items: center;
          font-size: 1.75rem; color: #fff; background: $color; }
  h1 { margin: 0 0 .5rem; font-size: 1.4rem; }
  p { margin: 0; color: #556; }
</style>
</head>
<body><main><div class="mark" aria-hidden="true">$mark</div><h1>$title</h1><p>$text</p></main></body>
</html>
""")


def page(outcome: CheckoutOutcome, *, left: bool) -> str:
    """The page as HTML. `left`: the user came by the cancel link, perhaps after paying in another tab."""
    if outcome.licensed:
        return _PAGE.substitute(
            refresh="",
            color="#1f9d61",
            mark="✓",
            title="Your license is ready",
            text="Thank you. We are setting up your NextPanel account and will write to you when you can sign in.",
        )
    if left or outcome.status is CheckoutStatus.EXPIRED:
        return _PAGE.substitute(
            refresh="",
            color="#8a94a6",
            mark="×",
            title="Nothing was bought",
            text="The payment page was left or has expired. You can start again whenever you like.",
        )
    return _PAGE.substitute(
        refresh='<meta http-equiv="refresh" content="3">\n',
        color="#3d6fd8",
        mark="…",
        title="We are confirming your payment",
        text="This page looks again by itself. You may close it: we will write to you as soon as the payment is in.",
    )
