"""The page that the link in the verification mail opens, until there is a portal to open.

Opening it spends nothing: mail scanners open links. Its one button sends the token back in a form. The token is in the
page's address, so the page names no other address to anybody, and whoever serves it forbids referrers.

A file of its own because it is a page and no use case; it goes when the portal takes its place.
"""

from html import escape
from string import Template
from typing import Final

PATH: Final = "/verify-email"
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title · NextPanel</title>
<style>
  body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: #f4f6fa; color: #1c2434;
         font: 16px/1.6 system-ui, sans-serif; }
  main { max-width: 28rem; margin: 1.5rem; padding: 2.5rem; background: #fff; border-radius: 14px; text-align: center;
         box-shadow: 0 12px 40px rgb(28 36 52 / 10%); }
  .mark { width: 3.5rem; height: 3.5rem; margin: 0 auto 1rem; border-radius: 50%; display: grid; place-items: center;
          font-size: 1.75rem; color: #fff; background: $colour; }
  h1 { margin: 0 0 .5rem; font-size: 1.4rem; }
  p { margin: 0; color: #556; overflow-wrap: anywhere; }
  button { margin-top: 1.5rem; padding: .75rem 1.5rem; border: 0; border-radius: 8px; font: inherit; font-weight: 600;
           color: #fff; background: #3d6fd8; cursor: pointer; }
</style>
</head>
<body><main><div class="mark" aria-hidden="true">$mark</div><h1>$title</h1><p>$text</p>$form</main></body>
</html>
""")
_FORM: Final = Template("""
<form method="post" action="$path"><input type="hidden" name="token" value="$token">
<button>Confirm this address</button></form>
""")


def asking(token: str) -> str:
    return _PAGE.substitute(
        colour="#3d6fd8",
        mark="@",
        title="Confirm your e-mail address",
        text="One click, and you can sign in to NextPanel billing.",
        form=_FORM.substitute(path=PATH, token=escape(token)),
    )


def confirmed(email: str) -> str:
    return _PAGE.substitute(
        colour="#1f9d61",
        mark="✓",
        title="Your address is confirmed",
        text=f"You can sign in as {escape(email)} now.",
        form="",
    )


def not_good() -> str:
    return _PAGE.substitute(
        colour="#8a94a6",
        mark="×",
        title="This link is not good any more",
        text="It works once, for a day. If you have used it already, simply sign in. Otherwise register again, and we"
        " will send you another one.",
        form="",
    )
