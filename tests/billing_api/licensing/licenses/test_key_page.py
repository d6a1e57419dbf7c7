"""Key page: where the mail "your license is ready" leads while there is no portal."""

from uuid import uuid4

from tests.billing_api.conftest import Client


async def test_it_says_how_to_see_the_key_and_nothing_of_the_license(client: Client) -> None:
    license_id = uuid4()
    answer = await client.get(f"/licenses/{license_id}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert str(license_id) in answer.text
    assert 'action="/schema/swagger"' in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_its_button_leads_to_a_page(client: Client) -> None:
    assert (await client.get("/schema/swagger")).status_code == 200


async def test_what_is_no_id_is_no_page(client: Client) -> None:
    answer = await client.get("/licenses/<script>alert(1)</script>")
    assert answer.status_code == 404
    assert "<script>" not in answer.text
