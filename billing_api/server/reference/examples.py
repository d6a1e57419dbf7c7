"""Examples of bodies and answers, composed from the examples of their fields.

A field's example is in its type (`msgspec.Meta(examples=[...])`), and fields of one meaning share one type
(billing_api/web/fields.py). So all examples speak of the same customer and the same license, and each is written once.
A field that has the type of a struct needs none: it is composed from that struct's fields.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Json = dict[str, Any]
_NULL: Final = {"type": "null"}


class NoExample(Exception):
    """A field has no example; the message names it."""


def of_content(schema: Json, schemas: Mapping[str, Json]) -> Json:
    """The `examples` of a body or an answer: one for each struct that it may be. Empty where a field has none."""
    members: Sequence[Json] = schema.get("oneOf", [schema])
    try:
        return {_name(member): {"value": compose(member, schemas)} for member in members}
    except NoExample:
        return {}


def compose(schema: Json, schemas: Mapping[str, Json], at: str = "") -> Any:
    """An example of the schema. NoExample where one of its fields has none."""
    written = schema.get("examples") or schema.get("enum")
    if written:
        return written[0]
    if "const" in schema:
        return schema["const"]
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return compose(schemas[name], schemas, name)
    if "anyOf" in schema:
        return compose(next(member for member in schema["anyOf"] if member != _NULL), schemas, at)
    return _of_parts(schema, schemas, at)


def _of_parts(schema: Json, schemas: Mapping[str, Json], at: str) -> Any:
    if "properties" in schema:
        return {name: compose(field, schemas, f"{at}.{name}") for name, field in schema["properties"].items()}
    if "items" in schema:
        return [compose(schema["items"], schemas, f"{at}[]")]
    if schema.get("default") is not None:
        return schema["default"]
    raise NoExample(f"{at}: give it an example, by msgspec.Meta(examples=[...])")


def _name(schema: Json) -> str:
    return str(schema.get("$ref", "example").rpartition("/")[2])
