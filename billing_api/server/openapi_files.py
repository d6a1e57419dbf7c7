"""docs/api.md, and the application without anything behind it that its OpenAPI document is made from.

`make openapi` runs `python -m billing_api.server.openapi_files docs`. It needs no settings and no server.
"""

import sys
from pathlib import Path

from litestar import Litestar

from billing_api.identity.sessions.cookies import RefreshCookie
from billing_api.server.app import declare, dependencies
from billing_api.server.openapi_config import openapi_config
from billing_api.server.reference.document import document
from billing_api.server.reference.markdown import page
from billing_api.server.routes import ROUTES
from billing_api.web.strict_request import StrictRequest


def described_app() -> Litestar:
    nobody = RefreshCookie(secure=True, origins=frozenset())
    app = Litestar(
        ROUTES,
        dependencies=dependencies(nobody),
        request_class=StrictRequest,
        openapi_config=openapi_config(),
        logging_config=None,
    )
    declare(app)
    return app


def main(folder: Path) -> None:
    (folder / "api.md").write_text(page(document(described_app())), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
