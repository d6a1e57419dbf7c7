"""HTML pages behind the links in mails, until there is a portal to open.

Opening a page changes nothing, because mail scanners open links. Its one button sends the token back in a form. The
token is part of the page's address. So a page links to nothing, and its headers forbid referrers.
"""

from html import escape
from string import Template
from typing import Final

from litestar import MediaType, Response

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
          font-size: 1.75rem; color: #fff; background: $color; }
  h1 { margin: 0 0 .5rem; font-size: 1.4rem; }
  p { margin: 0; color: #556; overflow-wrap: anywhere; }
  label { display: block; margin-top: 1.5rem; text-align: left; color: #556; }
  input { box-sizing: border-box; width: 100%; padding: .7rem; border: 1px solid #c5ccd8; border-radius: 8px;
          font: inherit; }
  button { margin-top: 1.5rem; padding: .75rem 1.5rem; border: 0; border-radius: 8px; font: inherit; font-weight: 600;
           color: #fff; background: #3d6fd8; cursor: pointer; }
</style>
</head>
<body><main><div class="mark" aria-hidden="true">$mark</div><h1>$title</h1><p>$text</p>$form</main></body>
</html>
""")
_FORM: Final = Template("""
<form method="post" action="$path"><input type="hidden" name="token" value="$token">$fields
<button>$button</button></form>
""")


def form_page(title: str, text: str, *, path: str, token: str, button: str, fields: str = "") -> str:
    """`fields`: more inputs, as HTML."""
    form = _FORM.substitute(path=path, token=escape(token), fields=fields, button=escape(button))
    return _page("#3d6fd8", "@", title, text, form)


def guide_page(title: str, text: str, *, path: str, button: str) -> str:
    """A page without a token; its button leads to another page of ours."""
    form = f'<form method="get" action="{path}"><button>{escape(button)}</button></form>'
    return _page("#3d6fd8", "i", title, text, form)


def success_page(title: str, text: str) -> str:
    return _page("#1f9d61", "✓", title, text)


def failure_page(text: str, *, title: str = "This link does not work any more") -> str:
    return _page("#8a94a6", "×", title, text)


def reply(page: str, status_code: int = 200) -> Response[str]:
    return Response(page, status_code=status_code, media_type=MediaType.HTML, headers=HEADERS)


def _page(color: str, mark: str, title: str, text: str, form: str = "") -> str:
    return _PAGE.substitute(color=color, mark=mark, title=escape(title), text=escape(text), form=form)
