"""docs/api.md: the OpenAPI document as a page to read, by tag.

For each tag a table of its operations; for each operation its text, parameters, body, answer and errors. Fields are
told once, in the tables of objects at the end.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

Json = Mapping[str, Any]

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_NULL: Final = {"type": "null"}
_HEAD: Final = """# The billing API

You want to know what a route takes, what it answers, and who may call it.

Made by `make openapi` from the OpenAPI document, which a running API serves at `/schema/openapi.json` and shows at
`/schema/swagger`. All examples speak of one customer and one license. Instants are RFC 3339 in UTC, money is an integer
of minor units with its currency. What each error means and what to do about it: [problems.md](problems.md). Fields of
bodies and answers: [objects](#objects)."""


def page(document: Json) -> str:
    parts = [_HEAD, *_contents(document)]
    for tag in document["tags"]:
        parts += list(_of_tag(tag, document))
    parts += ["## Objects", *_objects(document)]
    return "\n\n".join(parts) + "\n"


def _operations(document: Json, tag: str) -> Iterator[tuple[str, Json]]:
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods and tag in methods[method]["tags"]:
                yield f"{method.upper()} {path}", methods[method]


def _contents(document: Json) -> Iterator[str]:
    rows = [f"- [{tag['name']}](#{_anchor(tag['name'])}): {tag['description']}" for tag in document["tags"]]
    yield "\n".join(rows)


def _of_tag(tag: Json, document: Json) -> Iterator[str]:
    found = sorted(_operations(document, tag["name"]), key=lambda each: each[0].partition(" ")[2])
    yield f"## {tag['name'].capitalize()}"
    yield tag["description"]
    rows = [f"| [`{name}`](#{_anchor(each['operationId'])}) | {each['summary']} |" for name, each in found]
    yield "\n".join(["| | |", "|---|---|", *rows])
    for name, each in found:
        yield from _of_operation(name, each)


def _of_operation(name: str, operation: Json) -> Iterator[str]:
    yield f"### {operation['operationId']}"
    yield f"`{name}`: {operation['summary']}."
    yield operation["description"]
    if operation.get("parameters"):
        yield _table(("parameter", "in", "type", ""), map(_parameter, operation["parameters"]))
    if "requestBody" in operation:
        yield from _content("Body", operation["requestBody"])
    for status, response in operation["responses"].items():
        if "$ref" not in response:
            yield from _content(f"{status}, {_lower(response['description'])}", response)
    errors = [
        f"`{code}` ({status})"
        for status, response in operation["responses"].items()
        if "$ref" in response
        for code in _name(response).split("-or-")
    ]
    if errors:
        yield f"Errors: {', '.join(errors)}."


def _parameter(parameter: Json) -> Sequence[str]:
    needed = ", required" if parameter["required"] and parameter["in"] != "path" else ""
    return f"`{parameter['name']}`", parameter["in"] + needed, _type(parameter["schema"]), parameter["description"]


def _content(title: str, place: Json) -> Iterator[str]:
    if not place.get("content"):
        yield f"{title.rstrip('.')}."
    for content in place.get("content", {}).values():
        members = content["schema"].get("oneOf", [content["schema"]])
        yield f"{title.rstrip('.')}: {' or '.join(map(_type, members))}"
        for example in content["examples"].values():
            yield f"```json\n{json.dumps(example['value'], indent=2, ensure_ascii=False)}\n```"


def _objects(document: Json) -> Iterator[str]:
    for name, schema in document["components"]["schemas"].items():
        yield f"### {name} (object)"
        if "description" in schema:
            yield schema["description"]
        if "enum" in schema:
            yield "One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + "."
        elif schema.get("properties"):
            needed = frozenset(schema.get("required", ()))
            rows = (
                (_field(each, is_needed=each in needed), _type(field), _text(field, document))
                for each, field in schema["properties"].items()
            )
            yield _table(("field", "type", ""), rows)


def _type(schema: Json) -> str:
    """A type in a few words: `UUID`, `list of text`, a link to an object."""
    if "$ref" in schema:
        return f"[{_name(schema)}](#{_anchor(_name(schema))}-object)"
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(_type(member) for member in schema[union])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_type(schema['items'])}" if "items" in schema else "list"
    named = {"date-time": "instant", "uuid": "UUID"}.get(schema.get("format", ""))
    return named or _WORDS.get(str(kind), "anything")


_WORDS: Final = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "null": "null",
}


def _field(name: str, *, is_needed: bool) -> str:
    return f"`{name}`" if is_needed else f"`{name}`, optional"


def _text(field: Json, document: Json) -> str:
    if "description" in field:
        return str(field["description"])
    members = [member for member in field.get("anyOf", ()) if member != _NULL]
    if len(members) == 1:
        return _text(members[0], document)
    named: Json = document["components"]["schemas"].get(_name(field), {})
    return str(named.get("description", "")).partition("\n")[0]


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _name(reference: Json) -> str:
    return str(reference.get("$ref", "")).rpartition("/")[2]


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _lower(text: str) -> str:
    """An abbreviation at the beginning stays as it is."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]
