"""`python -m devstack.simulators.stripe`: the process."""

from typing import get_args

from core.clock import MOVED, clock_file
from core.settings import process_environment
from devstack.simulators.journal import Journal
from devstack.simulators.serving import HOST, arguments, serve
from devstack.simulators.stripe.account import AfterRetries
from devstack.simulators.stripe.app import application


def main() -> None:
    parser = arguments("devstack.simulators.stripe", "A small Stripe, with hosted checkout and webhooks.", port=9010)
    given = process_environment()
    known, signs = given.get("STRIPE_API_KEY"), given.get("STRIPE_WEBHOOK_SECRETS", "")
    parser.add_argument("--api-key", required=not known, default=known, help="accepted; else STRIPE_API_KEY")
    parser.add_argument("--public-url", help="how browsers reach it; by default the loopback address and the port")
    parser.add_argument("--webhook", metavar="URL", help="an endpoint that gets every event")
    parser.add_argument(
        "--webhook-secret", metavar="SECRET", default=signs, help="signs deliveries; else STRIPE_WEBHOOK_SECRETS"
    )
    parser.add_argument("--webhook-delay-ms", type=int, default=0, help="how late each delivery leaves")
    parser.add_argument("--webhook-backoff", type=float, default=0.2, help="seconds before the first retry; doubles")
    parser.add_argument("--workers", metavar="URL", help="where the workers tell what is due, when time is moved")
    parser.add_argument(
        "--after-retries", choices=get_args(AfterRetries), help="what an unpaid subscription becomes; by default cancel"
    )
    chosen = parser.parse_args()
    file = clock_file(given)
    if chosen.webhook and not chosen.webhook_secret:
        parser.error("--webhook needs --webhook-secret")
    app = application(
        Journal(chosen.data / "stripe.sqlite3"),
        api_key=chosen.api_key,
        public_url=chosen.public_url or f"http://{HOST}:{chosen.port}",
        after_retries=chosen.after_retries,
        webhook=(chosen.webhook, chosen.webhook_secret.partition(",")[0]) if chosen.webhook else None,
        webhook_delay_ms=chosen.webhook_delay_ms,
        webhook_backoff=chosen.webhook_backoff,
        moved=(MOVED, file, chosen.workers) if MOVED and file and chosen.workers else None,
    )
    serve(app, chosen.port)


if __name__ == "__main__":
    main()
