"""OpenAPI document: Litestar's skeleton, with the schemas of msgspec and an example of every body and answer.

Litestar finds paths, parameters and what authenticates a call. Bodies and answers are described by msgspec, which reads
and writes them: Litestar loses the conditions of optional fields, and knows no docstrings of structs. An error that
several operations answer alike is described once, under `components`.
"""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, Union, get_args, get_origin

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response

from billing_api.access.permissions import Permission
from billing_api.server.reference import examples, headers
from billing_api.server.reference.operations import Operation, body_type, operations
from billing_api.server.reference.parameters import describe_parameters
from core.problems import MEDIA_TYPE

Json = dict[str, Any]
_REF: Final = "#/components/schemas/{name}"
_JSON: Final = "application/json"
_PAGES: Final = re.compile(rb"Page_(\w+)_(?=\")")
"""msgspec's name for a page of a list; generated clients need a plainer one."""


class _Place(NamedTuple):
    """A media type object of the document, and the types of its content."""

    content: Json
    kinds: tuple[Any, ...]


def encoded(app: Litestar, skeleton: Json) -> bytes:
    """The document as JSON. `skeleton`: Litestar's document, which stays as it is."""
    return _PAGES.sub(rb"\1Page", msgspec.json.encode(_whole(app, skeleton)))


def document(app: Litestar) -> Json:
    decoded: Json = msgspec.json.decode(encoded(app, app.openapi_schema.to_schema()))
    return decoded


def _whole(app: Litestar, skeleton: Json) -> Json:
    whole: Json = msgspec.json.decode(msgspec.json.encode(skeleton))
    found = list(operations(app))
    places = [place for operation in found for place in _places(whole, operation)]
    _set_schemas(whole, places)
    for place in places:
        if "examples" not in place.content:
            composed = examples.of_content(place.content["schema"], whole["components"]["schemas"])
            place.content.update({"examples": composed} if composed else {})
    for path, method, handler in found:
        operation: Json = whole["paths"][path][method]
        describe_parameters(operation, handler.opt.get("documented_key"))
        _describe_answers(operation, handler, whole["components"]["schemas"])
        if path.startswith("/api/"):
            is_signed = handler.opt["permission"] is Permission.SIGNED
            headers.describe_headers(operation, handler.status_code, is_signed=is_signed)
    whole["components"]["headers"] = headers.components()
    _share_errors(whole)
    return whole


def _places(whole: Json, operation: Operation) -> Iterator[_Place]:
    path, method, handler = operation
    described: Json = whole["paths"][path][method]
    if "documented_body" in handler.opt:
        media_type = handler.opt.get("documented_body_type", _JSON)
        described["requestBody"] = {"required": True, "content": {media_type: {}}}
    if "requestBody" in described:
        described["requestBody"]["required"] = NoneType not in get_args(body_type(handler))
        for content in described["requestBody"]["content"].values():
            yield _Place(content, _members(body_type(handler)))
    for status, content in _contents(described):
        if status == str(handler.status_code):
            yield _Place(content, _members(_answer_type(handler)))
        elif handler.responses and int(status) in handler.responses:
            yield _Place(content, (handler.responses[int(status)].data_container,))


def _contents(operation: Json) -> Iterator[tuple[str, Json]]:
    for status, response in operation["responses"].items():
        yield from ((status, content) for content in response.get("content", {}).values())


def _answer_type(handler: HTTPRouteHandler) -> Any:
    field = handler.parsed_return_field
    return field.inner_types[0].annotation if field.is_subclass_of(Response) else field.annotation


def _members(kind: Any) -> tuple[Any, ...]:
    """The structs of a union; a body that may be absent is described by its struct."""
    if get_origin(kind) not in {Union, UnionType}:
        return (kind,)
    return tuple(member for member in get_args(kind) if member is not type(None))


def _set_schemas(whole: Json, places: Sequence[_Place]) -> None:
    kinds = list(dict.fromkeys(kind for place in places for kind in place.kinds))
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    by_kind = dict(zip(kinds, schemas, strict=True))
    for place in places:
        given = [by_kind[kind] for kind in place.kinds]
        place.content["schema"] = given[0] if len(given) == 1 else {"oneOf": given}
    kept = {name: schema for name, schema in whole["components"]["schemas"].items() if "enum" in schema}
    whole["components"]["schemas"] = _in_order(kept | {name: _tidy(schema) for name, schema in components.items()})


def _tidy(schema: Json) -> Json:
    """Msgspec keeps a docstring as it is indented, and writes no type for an enumeration."""
    text = {"description": inspect.cleandoc(schema["description"])} if "description" in schema else {}
    kind = {"type": "string"} if "enum" in schema else {}
    return schema | kind | text


def _in_order(schemas: Mapping[str, Json]) -> Json:
    return {name: schemas[name] for name in sorted(schemas)}


def _describe_answers(operation: Json, handler: HTTPRouteHandler, schemas: Mapping[str, Json]) -> None:
    """A successful answer is described by the docstring of its struct, or by "Done"."""
    response = operation["responses"][str(handler.status_code)]
    for content in response.get("content", {}).values():
        named = [one.get("$ref", "").rpartition("/")[2] for one in content["schema"].get("oneOf", [content["schema"]])]
        texts = [schemas[name].get("description", "").partition("\n")[0] for name in named if name in schemas]
        response["description"] = " Or: ".join(text for text in texts if text) or "Done"


def _share_errors(whole: Json) -> None:
    """Moves each error response into `components.responses`, under the codes that it tells of."""
    shared: Json = whole["components"].setdefault("responses", {})
    for methods in whole["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if (problem := response.get("content", {}).get(MEDIA_TYPE)) is not None:
                    name = "-or-".join(problem["examples"])
                    if shared.setdefault(name, response) == response:
                        operation["responses"][status] = {"$ref": f"#/components/responses/{name}"}
    whole["components"]["responses"] = _in_order(shared)
