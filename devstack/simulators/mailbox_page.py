"""The mail sink's page: every message as its reader would see it, newest first.

An HTML body is shown in a frame that may run nothing and reach nothing; its links open in a new tab. A text body has
its addresses turned into links, so that a person can follow a verification mail with one click.
"""

import re
from collections.abc import Sequence
from typing import Final, Protocol

from jinja2 import Environment
from markupsafe import Markup, escape

_ADDRESS: Final = re.compile(r"https?://[^\s<>\"']+")


class Shown(Protocol):
    """What the page reads of a message."""

    to: str
    subject: str
    text: str
    html: str
    at: str
    attempts: int


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Mail ({{ messages|length }})</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 46rem; padding: 2rem 1rem; color: #1a1f36;
         background: #f6f8fa }
  h1 { font-size: 1.4rem } p.none { color: #697386 }
  details { background: #fff; border: 1px solid #e3e8ee; border-radius: .5rem; margin: .75rem 0 }
  summary { cursor: pointer; padding: .75rem 1rem; display: grid; grid-template-columns: 1fr auto; gap: .1rem 1rem }
  summary strong { grid-column: 1 } summary span { color: #697386; font-size: .85rem }
  summary time { grid-row: 1; grid-column: 2; color: #697386; font-size: .85rem }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; margin: 0; padding: 1rem;
        border-top: 1px solid #e3e8ee }
  iframe { width: 100%; height: 24rem; border: 0; border-top: 1px solid #e3e8ee }
</style></head><body>
<h1>Mail</h1>
{% for message in messages %}
<details{% if loop.first %} open{% endif %}>
  <summary><strong>{{ message.subject }}</strong><time>{{ message.at }}</time>
    <span>to {{ message.to }}{% if message.attempts > 1 %}, sent {{ message.attempts }} times{% endif %}</span>
  </summary>
  {% if message.html %}<iframe sandbox="allow-popups allow-popups-to-escape-sandbox" title="{{ message.subject }}"
    srcdoc="{{ opening_outside(message.html) }}"></iframe>{% endif %}
  {% if message.text %}<pre>{{ with_links(message.text) }}</pre>{% endif %}
</details>
{% else %}<p class="none">No mail yet.</p>
{% endfor %}
</body></html>
"""


def render(messages: Sequence[Shown]) -> str:
    return _TEMPLATE.render(messages=messages)


def with_links(text: str) -> Markup:
    """The text, escaped, with each http address as a link."""
    parts, end = [], 0
    for match in _ADDRESS.finditer(text):
        parts += [escape(text[end : match.start()]), _LINK.format(match[0], match[0])]
        end = match.end()
    return Markup("").join([*parts, escape(text[end:])])


def opening_outside(body: str) -> str:
    return f'<base target="_blank">{body}'


_LINK: Final = Markup('<a href="{}" target="_blank" rel="noreferrer">{}</a>')
_ENVIRONMENT: Final = Environment(autoescape=True)
_ENVIRONMENT.globals.update(with_links=with_links, opening_outside=opening_outside)
_TEMPLATE: Final = _ENVIRONMENT.from_string(_PAGE)
