"""Validation errors of a body or a query, field by field: all of them at once, in words, the same in both APIs.

msgspec stops at the first error, and tells it in terms of Python (`Expected `int`, got `str` - at `$.count``). That is
quick, and enough for the many bodies that are valid. An invalid body is examined again here: each field is compared
with its type. Each error has a `code` for programs and the `params` that its words are made of:

    missing                                a field that must be there
    unknown                                a field that this type does not have
    wrong_type     expected, got           JSON types, in words
    too_short      min                     characters of a text, items of a list
    too_long       max
    too_small      min
    too_large      max
    not_multiple   of
    not_one_of     allowed                 the values of an enumeration
    bad_format     expected                a UUID, an instant, ...
    malformed                              the body is no JSON, or no UTF-8
    repeated                               a query name that stands more than once
    invalid                                anything else; `detail` says what

A type can add two things to its Meta's `extra`. `FORM` describes its pattern in words: no regular expression is told,
and a test finds a route's pattern that has no words. `JUDGE` is a function that says what else is wrong with a text, so
that this is told together with all other errors.

No value is ever repeated, and no odd name: where a whole form was sent as a name, it would contain the password.
"""

import enum
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from core.errors import FieldError, InvalidInput

BODY: Final = "body"
FORM: Final = "form"
JUDGE: Final = "judge"
_MOST_TOLD: Final = 100
_MOST_IN_DETAIL: Final = 5
_SAYABLE: Final = re.compile(r"[\w.\-\[\]$@:]{1,64}")
_UNSAYABLE: Final = "(a name that cannot be shown)"
_NOTHING: Final = frozenset({NoneType, msgspec.UnsetType})

Decode = Callable[[Any, Any], Any]
"""Takes a value from JSON or a query, and a type; raises ValidationError where the value is not valid."""


BAD_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding an invalid body raises; RecursionError where it is nested a thousand levels deep."""


def invalid_body(failure: Exception, body: bytes, wanted: Any) -> InvalidInput:
    """Why `body` could not be read as `wanted`: every error, or the one that `failure` tells (one of BAD_JSON)."""
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        return invalid([FieldError(BODY, "is nested too deeply: send a flatter body", "malformed")])
    except BAD_JSON:
        return invalid([FieldError(BODY, "must be JSON in UTF-8", "malformed")])
    found = list(islice(_faults(value, wanted, ""), _MOST_TOLD))
    return invalid(found or [_fault(str(failure), BODY, None)])


def invalid(errors: Sequence[FieldError]) -> InvalidInput:
    """Also tells the first errors in `detail`: not every client reads `errors`."""
    told = "; ".join(f"{one.field} {one.detail}" for one in errors[:_MOST_IN_DETAIL])
    more = len(errors) - _MOST_IN_DETAIL
    return InvalidInput(f"{told}; and {more} more" if more > 0 else told, errors=tuple(errors[:_MOST_TOLD]))


def unknown(name: str, known: Sequence[str]) -> FieldError:
    advice = f"use one of {', '.join(sorted(known))}" if known else "remove it"
    return FieldError(sayable(name), f"is unknown: {advice}", "unknown", {"known": sorted(known)})


def missing(name: str) -> FieldError:
    return FieldError(name, "is missing", "missing")


def sayable(name: str) -> str:
    return name if _SAYABLE.fullmatch(name) else _UNSAYABLE


def text_fault(text: str, wanted: Any, field: str) -> FieldError | None:
    """The error of a query value, which is always sent as text."""
    try:
        msgspec.convert(text, wanted, strict=False)
    except msgspec.ValidationError as failure:
        return _fault(str(failure), field, wanted)
    return None


def message_fault(message: str, field: str) -> FieldError:
    """The error in a message of msgspec, where nothing else is known."""
    return _fault(message, field, None)


def _faults(value: Any, wanted: Any, path: str) -> Iterator[FieldError]:
    """The errors of `value`, decoded from JSON, against a type: each with its path."""
    plain = _bare(wanted)
    members = _members(plain)
    if len(members) == 1 and members != (plain,):  # `X | None`, `X | UNSET`
        if value is not None or NoneType not in get_args(plain):
            yield from _faults(value, members[0], path)
    elif isinstance(plain, type) and issubclass(plain, msgspec.Struct) and isinstance(value, dict):
        yield from _of_struct(value, plain, path)
    elif get_origin(plain) is list and isinstance(value, list):
        fault = _leaf(value, _as_list_of_anything(wanted), path)
        if fault is not None:
            yield fault
        for number, item in enumerate(value):
            yield from _faults(item, get_args(plain)[0], f"{path}[{number}]")
    elif (fault := _leaf(value, wanted, path) or _judged(value, wanted, path)) is not None:
        yield fault


def _of_struct(value: Mapping[str, Any], struct: type[msgspec.Struct], path: str) -> Iterator[FieldError]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    before = f"{path}." if path else ""
    if struct.__struct_config__.forbid_unknown_fields:
        for name in value:
            if name not in fields:
                yield msgspec.structs.replace(fault := unknown(name, list(fields)), field=before + fault.field)
    for name, field in fields.items():
        if name in value:
            yield from _faults(value[name], field.type, before + name)
        elif field.required:
            yield missing(before + name)


def _bare(wanted: Any) -> Any:
    """The type without its conditions (Annotated)."""
    return _bare(get_args(wanted)[0]) if get_origin(wanted) is Annotated else wanted


def _members(plain: Any) -> tuple[Any, ...]:
    """The members of a union without None and UNSET."""
    if get_origin(plain) not in {Union, UnionType}:
        return (plain,)
    return tuple(member for member in get_args(plain) if member not in _NOTHING)


def of_something(wanted: Any) -> Any:
    """X, for `X | None`."""
    members = _members(_bare(wanted))
    return members[0] if len(members) == 1 and members != (_bare(wanted),) else wanted


def _as_list_of_anything(wanted: Any) -> Any:
    """The list type with its own conditions, but without those of its items."""
    if get_origin(wanted) is not Annotated:
        return list[Any]
    return Annotated[(list[Any], *wanted.__metadata__)]


def _leaf(value: Any, wanted: Any, path: str) -> FieldError | None:
    """Encodes and decodes the value, so that the decoder decides as it did for the whole body."""
    try:
        msgspec.json.decode(msgspec.json.encode(value), type=wanted)
    except msgspec.ValidationError as failure:
        return _fault(str(failure), path or BODY, wanted)
    return None


def _judged(value: Any, wanted: Any, path: str) -> FieldError | None:
    judge = extra(wanted, JUDGE)
    detail = None if judge is None else judge(value)
    return None if detail is None else FieldError(path or BODY, detail)


def extra(wanted: Any, name: str) -> Any:
    """The entry of this name in the `extra` of a type's Meta."""
    metas = wanted.__metadata__ if get_origin(wanted) is Annotated else ()
    said = ((meta.extra or {}).get(name) for meta in metas if isinstance(meta, msgspec.Meta))
    return next((one for one in said if one is not None), None)


class _Rule(NamedTuple):
    """How a message of msgspec is told: the groups of the match are the `params`, and fill in the `words`."""

    pattern: re.Pattern[str]
    code: str
    words: str


_MESSAGE: Final = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$(?P<path>[^`]*)`)?$", re.DOTALL)
_NUMBER: Final = r"(?P<{}>-?[\d.]+)"
_RULES: Final = tuple(
    _Rule(re.compile(pattern), code, words)
    for pattern, code, words in (
        (r"Expected `str` of length >= " + _NUMBER.format("min"), "too_short", "must have at least {min} characters"),
        (r"Expected `str` of length <= " + _NUMBER.format("max"), "too_long", "must have at most {max} characters"),
        (r"Expected `\w+` of length >= " + _NUMBER.format("min"), "too_short", "must have at least {min} items"),
        (r"Expected `\w+` of length <= " + _NUMBER.format("max"), "too_long", "must have at most {max} items"),
        (r"Expected `\w+` >=? " + _NUMBER.format("min"), "too_small", "must be at least {min}"),
        (r"Expected `\w+` <=? " + _NUMBER.format("max"), "too_large", "must be at most {max}"),
        (r"Expected `\w+` that's a multiple of " + _NUMBER.format("of"), "not_multiple", "must be a multiple of {of}"),
        (r"Expected `(?P<expected>[^`]+)`, got `(?P<got>[^`]+)`", "wrong_type", "must be {expected}, not {got}"),
        (r"Expected `str` matching regex '\^\[\^\\\\x00\]\*\$'", "bad_format", "must not contain a NUL character"),
        (r"Expected `str` matching regex '.*'", "bad_format", "must have another form"),
        (r"Expected `(?P<expected>datetime|time)` with a timezone component", "bad_format", "must have a UTC offset"),
        (r"Invalid (?P<expected>UUID|RFC3339 encoded \w+|ISO8601 duration|base64 encoded string)", "bad_format",
         "must be {expected}"),
        (r"Invalid enum value .*", "not_one_of", "must be one of: {allowed}"),
        (r"Object missing required field `(?P<name>[^`]*)`", "missing", "is missing"),
        (r"Object contains unknown field .*", "unknown", "has an unknown field: remove it"),
    )
)  # fmt: skip
_ONE: Final = re.compile(r"\b1 (character|item)s$")
_WORDS: Final = {
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
    "UUID": "a UUID",
    "RFC3339 encoded datetime": "an instant with a UTC offset, such as 2026-03-10T00:00:00Z",
    "RFC3339 encoded date": "a date such as 2026-03-10",
    "RFC3339 encoded time": "a time such as 12:30:00",
    "ISO8601 duration": "a duration such as PT5M",
    "base64 encoded string": "base64",
    "datetime": "an instant with a UTC offset, such as 2026-03-10T00:00:00Z",
}


def _fault(message: str, field: str, wanted: Any) -> FieldError:
    match = _MESSAGE.match(message)
    what, inner = (match["what"], (match["path"] or "")) if match else (message, "")
    place = _joined(field, inner)
    for rule in _RULES:
        found = rule.pattern.fullmatch(what)
        if found is None:
            continue
        # The first rule that matches decides; three codes need more than its words.
        params: dict[str, Any] = {name: _param(text) for name, text in found.groupdict().items()}
        name = params.pop("name", None)
        if rule.code == "bad_format" and (form := extra(wanted, FORM)) is not None:
            return FieldError(place, f"must be {form}", rule.code, {"expected": form})
        if rule.code == "not_one_of":
            params["allowed"] = _allowed(wanted)
            if not params["allowed"]:
                return FieldError(place, "must be one of the allowed values", rule.code, params)
        if rule.code == "unknown":
            return FieldError(place, "has an unknown field: remove it", rule.code)
        return FieldError(
            place if name is None else _joined(place, f".{sayable(name)}"),
            _ONE.sub(r"1 \1", rule.words.format(**{key: _said(value) for key, value in params.items()})),
            rule.code,
            params,
        )
    return FieldError(place, what[:200])


def _joined(field: str, inner: str) -> str:
    if field == BODY:
        return inner.lstrip(".") or BODY
    return field + inner


def _param(text: str) -> Any:
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    return " or ".join(_WORDS.get(part, part) for part in text.split(" | "))


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _allowed(wanted: Any) -> list[Any]:
    """The values of an enumeration, or of a Literal."""
    for member in map(_bare, _members(_bare(wanted))):
        if get_origin(member) is Literal:
            return list(get_args(member))
        if isinstance(member, type) and issubclass(member, enum.Enum):
            return [one.value for one in member]
    return []
