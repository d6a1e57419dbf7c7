"""The SDK's `stripe.params` TypedDicts as the list of what an operation accepts, and of what type.

They are generated from Stripe's own description of the API, so an unknown or removed parameter is refused here exactly
where Stripe refuses it. A form carries strings only: the declared type says what each one means. `''` is Stripe's way
to say *unset*; it is passed on where the declaration names it.
"""

import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from types import UnionType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from stripe import StripeContext, _request_options
from stripe._request_options import RequestOptions
from stripe._stripe_object import UntypedStripeObject
from typing_extensions import is_typeddict

from devstack.simulators.stripe.errors import Refused, invalid
from devstack.simulators.stripe.forms import Tree

Raw = str | Tree


def decode(tree: Tree, declared: type, *, lenient: bool) -> dict[str, Any]:
    """The parameters as Python values. `lenient` passes over unknown ones, for a client that names no version."""
    return _members(tree, declared, "", lenient=lenient)


@cache
def _declared(declared: type) -> Mapping[str, Any]:
    """Names and types of a TypedDict, without the SDK's own request options, which never reach the wire."""
    names = {**vars(_request_options), "StripeContext": StripeContext}
    hints = get_type_hints(declared, vars(sys.modules[declared.__module__]), names)
    return {name: hint for name, hint in hints.items() if name not in RequestOptions.__annotations__}


def _members(tree: Tree, declared: type, path: str, *, lenient: bool) -> dict[str, Any]:
    known = _declared(declared)
    result: dict[str, Any] = {}
    for name, raw in tree.items():
        at = f"{path}[{name}]" if path else name
        if name in known:
            result[name] = _convert(raw, known[name], at, lenient=lenient)
        elif not lenient:
            raise invalid(f"Received unknown parameter: {at}", param=at, code="parameter_unknown")
    for name in declared.__required_keys__:  # type: ignore[attr-defined]  # every TypedDict has it; `type` does not say
        if name in known and name not in tree:
            at = f"{path}[{name}]" if path else name
            raise invalid(f"Missing required param: {at}.", param=at, code="parameter_missing")
    return result


def _convert(raw: Raw, hint: Any, at: str, *, lenient: bool) -> Any:
    options = list(_options(hint))
    enum = [value for option in options if get_origin(option) is Literal for value in get_args(option)]
    if isinstance(raw, str):
        return _scalar(raw, options, enum, at)
    for option in options:
        origin = get_origin(option)
        if is_typeddict(option):
            return _members(raw, option, at, lenient=lenient)
        if origin is list:
            (member,) = get_args(option)
            return [_convert(item, member, f"{at}[{key}]", lenient=lenient) for key, item in _in_order(raw, at)]
        if origin in (dict, UntypedStripeObject):
            member = get_args(option)[-1]
            return {key: _entry(item, member, f"{at}[{key}]", lenient=lenient) for key, item in raw.items()}
    raise invalid(f"Invalid value for {at}: a single value is expected", param=at)


def _entry(raw: Raw, hint: Any, at: str, *, lenient: bool) -> Any:
    """A free mapping's value: any text, the empty one too, which removes a key of metadata."""
    return raw if hint is str and isinstance(raw, str) else _convert(raw, hint, at, lenient=lenient)


def _options(hint: Any) -> Iterator[Any]:
    if get_origin(hint) in (typing.Union, UnionType):
        for option in get_args(hint):
            yield from _options(option)
    else:
        yield hint


def _in_order(raw: Tree, at: str) -> list[tuple[str, Raw]]:
    if not all(key.isdecimal() for key in raw):
        raise invalid(f"Invalid array: {at} has to be a list", param=at, code="parameter_invalid")
    return sorted(raw.items(), key=lambda entry: int(entry[0]))


def _scalar(raw: str, options: list[Any], enum: list[Any], at: str) -> Any:
    """An enum comes with `str` beside it for the client's sake; the server knows its values and takes no others."""
    if raw in enum:
        return raw
    if raw == "" and str in options and not enum:
        raise invalid(f"You passed an empty string for '{at}'.", param=at, code="parameter_invalid_empty")
    for option, read in _READERS.items():
        if option in options:
            try:
                return read(raw)
            except ValueError:
                continue
    names = [value for value in enum if value != ""]
    if names:
        raise invalid(f"Invalid {at}: must be one of {', '.join(names)}", param=at)
    if str in options:
        return raw
    raise _unreadable(raw, options, at)


def _unreadable(raw: str, options: list[Any], at: str) -> Refused:
    if int in options:
        return invalid(f"Invalid integer: {raw}", param=at, code="parameter_invalid_integer")
    if bool in options:
        return invalid(f"Invalid boolean: {raw}", param=at)
    return invalid(f"Invalid value for {at}: {raw}", param=at)


def _boolean(raw: str) -> bool:
    if raw not in ("true", "false"):
        raise ValueError(raw)
    return raw == "true"


def _decimal(raw: str) -> Decimal:
    try:
        return Decimal(raw)
    except InvalidOperation as fault:
        raise ValueError(raw) from fault


_READERS: Final[Mapping[Any, Callable[[str], Any]]] = {bool: _boolean, int: int, Decimal: _decimal, float: float}
