"""Gaps of the OpenAPI document: what it leaves undescribed, and how to describe it.

A new route has no gap if it is written like this:

- The handler's docstring: its first line is the summary, a paragraph below it the description. Who may call it and how
  often is added by itself (billing_api/server/reference/operations.py).
- A query parameter or a header: `Annotated[T, QueryParameter(description="...")]`. Parameters of the path are described
  once, by name, in billing_api/server/reference/parameters.py.
- A field of a body or an answer: `Annotated[T, msgspec.Meta(description="...", examples=[...])]`, or a type of
  billing_api/web/fields.py that has both already. Say the unit, and what null means. A field whose type is a struct
  needs no example of its own; an enumeration is described by its docstring and needs neither.
- A struct and an enumeration: a docstring. The first line of an answer's struct describes the answer.
- Examples of bodies and answers are composed from those of their fields (billing_api/server/reference/examples.py).
- Errors: `responses={402: documented(PaymentDeclined)}` for those that are not common to all routes.
- Then `make openapi` writes docs/api.md anew; after a conflict in that file, too.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from billing_api.server.reference import examples
from billing_api.server.reference.operations import ACCESS

Json = Mapping[str, Any]
METHODS: Final = frozenset({"get", "post", "put", "patch", "delete"})
_NULL: Final = {"type": "null"}


def gaps(document: Json) -> dict[str, list[str]]:
    """What each operation and each schema lacks, by its name; those that lack nothing are left out."""
    found = {name: list(_of_operation(each)) for name, each in operations(document)}
    for name, schema in document["components"]["schemas"].items():
        found[name] = list(_of_schema(schema, document["components"]["schemas"]))
    for name, response in document["components"].get("responses", {}).items():
        found[f"error {name}"] = list(_of_content(response, "error"))
    return {name: lacking for name, lacking in found.items() if lacking}


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    """By name, such as `GET /api/v1/licenses`."""
    for path, methods in document["paths"].items():
        yield from ((f"{method.upper()} {path}", each) for method, each in methods.items() if method in METHODS)


def _of_operation(operation: Json) -> Iterator[str]:
    if " " not in operation.get("summary", ""):  # without a docstring it is made of the handler's name
        yield "summary"
    if not operation.get("description", "").partition(ACCESS)[0].strip():
        yield "description"
    for parameter in operation.get("parameters", ()):
        if not parameter.get("description"):
            yield f"description of the parameter {parameter['name']}"
    if "requestBody" in operation:
        yield from _of_content(operation["requestBody"], "body")
    for status, response in operation["responses"].items():
        if "$ref" not in response:
            yield from _of_content(response, f"answer {status}")


def _of_content(place: Json, name: str) -> Iterator[str]:
    yield from (
        f"example of the {name}"
        for content in place.get("content", {}).values()
        if not (content.get("examples") or content.get("example"))
    )


def _of_schema(schema: Json, schemas: Json) -> Iterator[str]:
    if not schema.get("description") and not schema["title"].startswith("Page["):
        yield "description"
    for name, field in schema.get("properties", {}).items():
        if not _text(field, schemas):
            yield f"description of the field {name}"


def _text(field: Json, schemas: Json) -> str:
    """A field's text: its own, that of the named type which it may hold, or that of its enumeration."""
    members = [member for member in field.get("anyOf", ()) if member != _NULL]
    if not field.get("description") and len(members) == 1:
        return _text(members[0], schemas)
    named = schemas.get(field.get("$ref", "").rpartition("/")[2], {})
    return str(field.get("description") or (named.get("description", "") if "enum" in named else ""))


def missing_examples(document: Json) -> dict[str, str]:
    """For each schema of which no example can be composed, the first field that has none."""
    found = {}
    schemas = document["components"]["schemas"]
    for name in schemas:
        try:
            examples.compose({"$ref": f"#/components/schemas/{name}"}, schemas)
        except examples.NoExample as gap:
            found[name] = str(gap)
    return found
