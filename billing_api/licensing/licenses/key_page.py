"""Key page: the HTML page behind the mail "your license is ready", until there is a portal to open.

It tells how to see the key, and shows nothing of the license: everybody may open it. A file of its own, because it is a
page and not a use case. Delete it when the portal replaces it.
"""

from typing import Final
from uuid import UUID

from billing_api.web import link_page

PATH: Final = "/licenses/{license_id:uuid}"


def page(license_id: UUID) -> str:
    return link_page.guide_page(
        "Your license key",
        "The key is shown to its owner only, and never sent by mail. There is no portal here yet, so two calls of our"
        f" API show it: sign in with auth/login, then call reveal-key for the license {license_id}.",
        path="/schema/swagger",
        button="Make these calls",
    )
