"""Hosted pages, shared parts: templates, and forms as a browser sends them."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from jinja2 import Environment, FileSystemLoader, select_autoescape
from litestar import Request, Response
from litestar.response import Redirect

from devstack.simulators.stripe.lines import money

AnyRequest = Request[Any, Any, Any]
Page = Response[str] | Redirect

_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=select_autoescape()
)
_TEMPLATES.globals.update(money=money)


def render(template: str, status: int = 200, **values: Any) -> Response[str]:
    page = _TEMPLATES.get_template(f"{template}.html").render(**values)
    return Response(page, status_code=status, media_type="text/html")


async def typed_form(request: AnyRequest) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
