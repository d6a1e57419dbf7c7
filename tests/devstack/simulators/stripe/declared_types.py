"""An oracle: does a JSON document have the type that stripe-python's resource classes declare for it.

The classes are generated from Stripe's own description of the pinned API version, and nobody of this project wrote
them. A document holds when every field it has is declared with a type its value has, and every field that is not
declared Optional is there. Three things the annotations leave to the reader:

- names imported for type checkers only are found by reading the module's `if TYPE_CHECKING:` block;
- an enum is declared `Union[Literal[...], str]` so that clients survive new values: here only the known ones count;
- what is `Any` (an event's `data.object`) is checked by the class that its own `object` field names.
"""

import ast
import inspect
import sys
import typing
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from importlib import import_module
from types import ModuleType, NoneType
from typing import Any, ClassVar, Final, Literal, get_args, get_origin, get_type_hints

from stripe import ListObject, StripeObject
from stripe._object_classes import OBJECT_CLASSES
from stripe._stripe_object import UntypedStripeObject

_SCALARS: Final[Mapping[Any, tuple[type, ...]]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    Decimal: (str,),
    NoneType: (NoneType,),
}


def violations(document: Mapping[str, Any]) -> list[str]:
    """What the SDK's declarations have against `document`, which says in its `object` field what it is."""
    kind = document.get("object")
    if kind not in OBJECT_CLASSES:
        return [f"no class for an object called {kind!r}"]
    module, name = OBJECT_CLASSES[kind]
    return list(_of_class(document, getattr(import_module(module), name), kind))


@cache
def _type_checking_names(module: ModuleType) -> dict[str, Any]:
    """What the module imports only where a type checker reads it; parameters are requests and never in an answer."""
    blocks = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {
        alias.asname or alias.name: getattr(import_module(source.module), alias.name)
        for source in imports
        if source.module and not source.module.startswith("stripe.params")
        for alias in source.names
    }


@cache
def _fields(declared: type) -> dict[str, Any]:
    module = sys.modules[declared.__module__]
    hints = get_type_hints(declared, localns=_type_checking_names(module))
    return {
        _wire_name(declared, name): hint
        for name, hint in hints.items()
        if not name.startswith("_") and name != "OBJECT_NAME" and get_origin(hint) is not ClassVar
    }


def _wire_name(declared: type, name: str) -> str:
    """Fields whose names Python reserves carry another one in the class."""
    remapped: Mapping[str, str] = getattr(declared, "_field_remappings", {})
    return remapped.get(name, name)


def _plain(declared: Any) -> Any:
    return get_origin(declared) or declared


def _of_class(value: Mapping[str, Any], declared: type, path: str) -> Iterator[str]:
    fields = _fields(declared)
    for name, item in value.items():
        if name in fields:
            yield from _check(item, fields[name], f"{path}.{name}")
        else:
            yield f"{path}.{name}: not declared in {declared.__qualname__}"
    if value.get("deleted"):
        return  # of a deleted object only the stub is left
    for name, hint in fields.items():
        if name not in value and NoneType not in get_args(hint):
            yield f"{path}.{name}: missing, and not Optional in {declared.__qualname__}"


def _check(value: Any, declared: Any, path: str) -> Iterator[str]:
    origin, arguments = get_origin(declared), get_args(declared)
    if origin is typing.Union:
        yield from _of_union(value, arguments, path)
    elif origin is Literal:
        if value not in arguments:
            yield f"{path}: {value!r} is none of {arguments}"
    elif origin in (list, ListObject, dict, UntypedStripeObject):
        yield from _of_container(value, origin, arguments, path)
    elif declared in (Any, object):
        yield from _of_its_own_kind(value, path)
    elif declared in _SCALARS:
        if not isinstance(value, _SCALARS[declared]) or (isinstance(value, bool) and declared is not bool):
            yield f"{path}: {value!r} is no {declared.__name__}"
    else:
        yield from _of_object(value, declared, path)


def _of_union(value: Any, members: tuple[Any, ...], path: str) -> Iterator[str]:
    """The member with the fewest objections speaks for the union."""
    if any(get_origin(member) is Literal for member in members):
        members = tuple(member for member in members if member is not str)
    answers = [list(_check(value, member, path)) for member in members]
    yield from min(answers, key=len)


def _of_container(value: Any, origin: Any, arguments: tuple[Any, ...], path: str) -> Iterator[str]:
    if origin is list:
        if not isinstance(value, list):
            yield f"{path}: {value!r} is no list"
            return
        for index, item in enumerate(value):
            yield from _check(item, arguments[0], f"{path}[{index}]")
    elif not isinstance(value, dict):
        yield f"{path}: {value!r} is no object"
    elif origin is ListObject:
        yield from _of_page(value, arguments[0], path)
    elif arguments[-1] is Any:
        yield from _of_its_own_kind(value, path)
    else:
        for key, item in value.items():
            yield from _check(item, arguments[-1], f"{path}[{key}]")


def _of_page(value: Mapping[str, Any], member: Any, path: str) -> Iterator[str]:
    expected = {"object": "list", "has_more": value.get("has_more"), "url": value.get("url"), "data": value.get("data")}
    if value != expected or not isinstance(value["has_more"], bool) or not isinstance(value["url"], str):
        yield f"{path}: {sorted(value)} is no list envelope"
        return
    for index, item in enumerate(value["data"]):
        yield from _check(item, member, f"{path}.data[{index}]")


def _of_object(value: Any, declared: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is no {_plain(declared).__qualname__}"
    elif declared not in (StripeObject, UntypedStripeObject):
        yield from _of_class(value, _plain(declared), path)


def _of_its_own_kind(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict) and value.get("object") in OBJECT_CLASSES and value["object"] != "list":
        yield from (f"{path}: {objection}" for objection in violations(value))
