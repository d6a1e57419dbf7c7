"""Rendering of mails: a row of `mails` becomes subject, text and HTML when it is sent.

A name that somebody typed for an address that nobody has proved yet is in no mail to that address.
"""

import base64
import binascii
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError, select_autoescape

from billing_api.notifications.mails.subjects import MAIL_KINDS, MailKind
from core.crypto.sealing import CannotOpen, Sealer
from db.models.messaging import Mail

MAIL_TOKEN_CONTEXT: Final = "mails.token"  # noqa: S105  a place, not a secret
TOKEN_PARAMETER: Final = "token_sealed"  # noqa: S105  a parameter's name

_TEMPLATES: Final = Environment(
    loader=PackageLoader("billing_api.notifications.mails"),
    autoescape=select_autoescape(("html",)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class CannotRender(Exception):
    """The mail cannot be rendered, now or later."""


class RenderedMail(NamedTuple):
    subject: str
    text: str
    html: str


class MailRenderer:
    def __init__(self, sealer: Sealer, *, public_url: str, portal_url: str | None) -> None:
        """Links lead to the portal; without one, to the API as customers reach it, which has a page for them."""
        self._sealer = sealer
        self._public_url = public_url
        self._portal_url = portal_url.rstrip("/") if portal_url else None

    def render(self, mail: Mail) -> RenderedMail:
        """Raises CannotRender."""
        kind = MAIL_KINDS.get(mail.template)
        if kind is None:
            raise CannotRender(f"there is no mail template {mail.template!r}")
        values = self._values(kind, mail.parameters) | {"subject": kind.subject}
        try:
            text, html = (_TEMPLATES.get_template(f"{mail.template}.{form}").render(values) for form in ("txt", "html"))
        except TemplateError as failure:
            raise CannotRender(f"the mail cannot be written: {failure}") from failure
        return RenderedMail(kind.subject, text, html)

    def _values(self, kind: MailKind, parameters: dict[str, Any]) -> dict[str, Any]:
        """What the templates may name. The token itself only stands in the link."""
        values = {name: value for name, value in parameters.items() if name != TOKEN_PARAMETER}
        values |= {"portal_url": self._portal_url, "public_url": self._public_url}
        if TOKEN_PARAMETER in parameters:
            token = quote(self._opened(parameters[TOKEN_PARAMETER]), safe="")
            values["link"] = f"{self._portal_url or self._public_url}/{kind.link_path}?token={token}"
        return values

    def _opened(self, token_sealed: str) -> str:
        try:
            sealed = base64.b64decode(token_sealed, validate=True)
            return self._sealer.open(sealed, context=MAIL_TOKEN_CONTEXT).decode()
        except (CannotOpen, binascii.Error) as failure:
            raise CannotRender(f"the token of this mail cannot be opened: {failure}") from failure


def seal_token(sealer: Sealer, token: str) -> str:
    """The token as a parameter of its mail."""
    return base64.b64encode(sealer.seal(token.encode(), context=MAIL_TOKEN_CONTEXT)).decode()
