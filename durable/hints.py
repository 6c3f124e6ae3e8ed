"""Classes at the edge of payloads: taken apart by value, rebuilt by a type hint, or refused.

The class to rebuild is always the one that the hint names, never one named in the data.
cattrs does the rebuilding, and is loaded when the first hint needs it: one that holds an
enum, a dataclass, an attrs class, a NamedTuple or a TypedDict somewhere inside.  Whatever
else a hint says is not enforced: values come back as they were stored, never coerced.
"""

from __future__ import annotations

import types
import typing
from collections import abc
from dataclasses import fields
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache, partial
from itertools import repeat
from types import NoneType
from typing import Annotated, Any, Literal, NewType, TypeVar, Union, get_args, get_origin
from uuid import UUID

from durable.errors import PayloadError

__all__ = ["needs_rebuild", "rebuild", "stored_fields", "why_refused"]

_UNIONS = (Union, types.UnionType)
_WRAPPERS = (typing.Final, typing.Required, typing.NotRequired)
_SEQUENCES = (list, tuple, set, frozenset)
# What a hint of a homogeneous collection builds; None: the type that the value has.
_BUILDS: dict[Any, type | None] = {
    list: list,
    abc.MutableSequence: list,
    tuple: tuple,
    set: set,
    abc.MutableSet: set,
    frozenset: frozenset,
    abc.Set: None,
    abc.Sequence: None,
    abc.Collection: None,
    abc.Iterable: None,
}
_NEVER_RUN = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)
_PLAIN: tuple[type, ...] = (int, float, complex, str, bytes, list, dict, tuple, set, frozenset)
_PLAIN += (datetime, date, time, timedelta, Decimal, UUID)


@lru_cache(1024)
def stored_fields(cls: Any) -> tuple[str, ...] | None:
    """The fields that stand for an instance of a dataclass or an attrs class, else None.

    Those that its ``__init__`` takes: the others are computed anew when it is rebuilt.
    """
    if hasattr(cls, "__attrs_attrs__"):
        return tuple(each.name for each in cls.__attrs_attrs__ if each.init)
    if hasattr(cls, "__dataclass_fields__"):
        return tuple(each.name for each in fields(cls) if each.init)
    return None


def why_refused(value: object) -> str | None:
    """Why a value of no basic type cannot be stored by value either; None if it can."""
    cls: Any = type(value)
    named_tuple = isinstance(value, tuple) and hasattr(cls, "_fields")
    if getattr(value, "__durable_command__", False):
        return "is a command that was not yielded: write (yield ...) first"
    if isinstance(value, _NEVER_RUN):
        return f"is a {cls.__name__} ({value.__name__}): did you forget to yield it?"
    if isinstance(value, (bytearray, memoryview)):
        return f"cannot store a {cls.__name__}: it would come back as bytes; pass bytes(value)"
    for plain in _PLAIN:
        if isinstance(value, plain) and not named_tuple:
            return (
                f"cannot store a {cls.__qualname__}: it would come back as a plain "
                f"{plain.__name__}; convert it to one first"
            )
    if named_tuple or stored_fields(cls) is not None:
        return None
    called = getattr(value, "__qualname__", None) or f"{cls.__module__}.{cls.__qualname__}"
    return (
        f"cannot store a {cls.__name__} ({called}): only plain values, enums, dataclasses, "
        "attrs classes and named tuples can be stored"
    )


def needs_rebuild(hint: Any) -> bool:
    """Whether values of this hint differ from what is stored, so that cattrs is needed.

    hint: a resolved type hint; anything that is none needs nothing.
    """
    try:
        return _needs_rebuild(hint)
    except TypeError:  # it cannot be hashed: Annotated[int, []]
        return _inspect(hint)


def _inspect(hint: Any, aliases: tuple[Any, ...] = ()) -> bool:
    """aliases: the ``type X = ...`` around this hint, which may name themselves again."""
    hint = _bare(hint)
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(isinstance(each, Enum) for each in args)
    if origin in _UNIONS or origin in _WRAPPERS:
        return any(_inspect(each, aliases) for each in args)
    if _is_alias(hint):
        return hint not in aliases and _inspect(hint.__value__, (*aliases, hint))
    cls = origin or hint
    if not isinstance(cls, type):
        return False
    if issubclass(cls, Enum):
        return bool(cls.__members__)
    if _is_record(cls) or _is_named_tuple(cls):
        return True
    holds = issubclass(cls, abc.Collection) or cls is abc.Iterable
    return holds and any(_inspect(each, aliases) for each in args)


_needs_rebuild = lru_cache(4096)(_inspect)


def _bare(hint: Any) -> Any:
    """The hint without the Annotated and NewType around it."""
    while True:
        if get_origin(hint) is Annotated:
            hint = hint.__origin__
        elif isinstance(hint, NewType):
            hint = hint.__supertype__
        else:
            return hint


def _is_sequence(hint: Any) -> bool:
    return get_origin(hint) in _BUILDS


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in _UNIONS


def _is_alias(hint: Any) -> bool:
    return type(hint).__name__ == "TypeAliasType"  # of typing or of typing_extensions


def _is_named_tuple(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def _is_class_with_fields(hint: Any) -> bool:
    cls = get_origin(hint) or hint
    return isinstance(cls, type) and stored_fields(cls) is not None


def _is_record(hint: Any) -> bool:
    """Whether what is stored is a dict: dataclass, attrs class, TypedDict."""
    return _is_class_with_fields(hint) or _is_typed_dict(hint)


def _is_typed_dict(hint: Any) -> bool:
    return hasattr(get_origin(hint) or hint, "__required_keys__")


def rebuild(value: Any, hint: Any) -> Any:
    """A decoded value as the type hint says.

    value: what was stored, by value.  hint: a resolved type hint.
    Returns the value itself when the hint holds no class to rebuild.
    Raises `PayloadError`, which names the path, when the value does not fit the hint.
    """
    if not needs_rebuild(hint):
        return value
    converter = _converter()
    try:
        return converter.structure(value, _without_metadata(hint))
    except Exception as error:
        is_class = isinstance(hint, type) and get_origin(hint) is None
        name = hint.__qualname__ if is_class else str(hint)
        raise PayloadError(f"the value does not fit {name}: {_describe(error)}") from error


def _without_metadata(hint: Any) -> Any:
    """The hint without Annotated, whose metadata may be impossible to hash."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _without_metadata(hint.__origin__)
    if origin in _UNIONS:
        return Union[tuple(map(_without_metadata, args))]  # noqa: UP007
    if origin in _BUILDS or origin is dict:
        return origin[tuple(map(_without_metadata, args))]
    return hint


def _describe(error: Exception) -> str:
    """The first mistakes that cattrs found, each with its path."""
    from cattrs import transform_error

    def reason(error: BaseException, _: Any) -> str:
        missing = isinstance(error, KeyError)
        return "required field missing" if missing else f"{type(error).__name__}: {error}"

    found = transform_error(error, path="value", format_exception=reason)
    shown = (" at ".join(each.rsplit(" @ ", 1)) for each in found[:3])
    return "; ".join(shown) + (f"; and {len(found) - 3} more" if found[3:] else "")


@lru_cache(1)
def _converter() -> Any:
    """The converter; of several hooks that match, the one registered last is used."""
    from cattrs import Converter

    converter = Converter()
    for plain in (str, bytes, int, float):  # found before any predicate; an IntEnum too
        converter.register_structure_hook(plain, _rebuild_plain)
    for matches, make_hook in (
        (_is_class_with_fields, _record_hook),
        (_is_typed_dict, _typed_dict_hook),
        (_is_named_tuple, _named_tuple_hook),
        (_is_sequence, _sequence_hook),
        (_is_union, _union_hook),
        (_is_alias, _alias_hook),
    ):
        converter.register_structure_hook_factory(matches, partial(make_hook, converter))
    converter.register_structure_hook_func(lambda hint: not needs_rebuild(hint), _unchanged)
    return converter


def _unchanged(value: Any, _: Any) -> Any:
    return value


def _rebuild_plain(value: Any, hint: Any) -> Any:
    return hint(value) if issubclass(hint, Enum) else value


def _alias_hook(converter: Any, hint: Any) -> Any:
    return lambda value, _: converter.structure(value, _without_metadata(hint.__value__))


def _record_hook(converter: Any, cls: Any) -> Any:
    build = converter.gen_structure_attrs_fromdict(_fill(cls, {}))

    def structure(value: Any, hint: Any) -> Any:
        _expect(value, (dict,))
        return build(value, hint)

    structure.overrides = build.overrides  # type: ignore[attr-defined]  # read for unions
    return structure


def _typed_dict_hook(converter: Any, hint: Any) -> Any:
    """cattrs has one, which takes NotRequired for required where annotations are strings."""
    cls = get_origin(hint) or hint
    given = dict(zip(getattr(cls, "__parameters__", ()), get_args(hint), strict=False))
    hints = typing.get_type_hints(cls, include_extras=True)
    optional = hints.keys() - cls.__required_keys__
    for name, each in hints.items():
        if get_origin(each) is typing.NotRequired:
            optional.add(name)
        hints[name] = _fill(each, given)

    def structure(value: Any, _: Any) -> Any:
        from cattrs.errors import AttributeValidationNote, ClassValidationError

        _expect(value, (dict,))
        pairs = {
            name: each for name, each in hints.items() if name in value or name not in optional
        }
        errors = (ClassValidationError, AttributeValidationNote)
        made = _structure_each(converter, value, pairs.items(), cls, errors)
        return value | dict(zip(pairs, made, strict=True))

    return structure


def _fill(hint: Any, given: dict[Any, Any]) -> Any:
    """The hint with the type variables that were given for its generic class filled in."""
    if get_origin(hint) in _WRAPPERS:
        hint = get_args(hint)[0]
    inside = getattr(hint, "__parameters__", ())
    if isinstance(hint, TypeVar):
        return given.get(hint, Any)
    return hint[tuple(given.get(each, Any) for each in inside)] if inside else hint


def _named_tuple_hook(converter: Any, cls: Any) -> Any:
    hints = typing.get_type_hints(cls)
    types_ = [hints.get(name, Any) for name in cls._fields]
    return lambda value, _: cls(*_structure_items(converter, value, types_, cls))


def _sequence_hook(converter: Any, hint: Any) -> Any:
    args, build = get_args(hint), _BUILDS[get_origin(hint)]
    fixed = build is tuple and args[1:] != (...,)

    def structure(value: Any, _: Any) -> Any:
        items = _structure_items(converter, value, args if fixed else repeat(args[0]), hint)
        if fixed and len(value) != len(args):
            raise ValueError(f"{len(args)} items expected, not {len(value)}")
        return (build or type(value))(items)

    return structure


def _union_hook(converter: Any, hint: Any) -> Any:
    """Chooses by the type of what is stored; among classes with fields cattrs chooses.

    An enum is preferred to a plain member: in ``Color | str`` a colour's value is a Color.
    """
    members = get_args(hint)
    rebuilt = [each for each in members if needs_rebuild(each)]
    plain = {_kind(each) for each in members if not needs_rebuild(each)}

    def structure(value: Any, _: Any) -> Any:
        fitting = [each for each in rebuilt if type(value) in _stored_as(each)]
        problem: Exception = TypeError(f"a {type(value).__name__} is no {hint}")
        for each in _narrow(converter, value, fitting):
            try:
                return converter.structure(value, each)
            except Exception as error:
                problem = error
        # Point | dict may be any dict; Point | float may be an int, but no dict.
        if plain & {type(value), Any, object} or (plain - {NoneType} and not fitting):
            return value
        raise problem

    return structure


def _narrow(converter: Any, value: Any, hints: list[Any]) -> list[Any]:
    if len(hints) <= 1 or not all(map(_is_class_with_fields, hints)):
        return hints
    from cattrs.disambiguators import create_default_dis_func

    return [create_default_dis_func(converter, *hints)(value)]


def _stored_as(hint: Any) -> set[type]:
    """The types that stand for this hint when stored."""
    kind = _kind(hint)
    if kind is Literal:
        return {type(each._value_) for each in get_args(_bare(hint)) if isinstance(each, Enum)}
    if _is_alias(kind):
        return {*_SEQUENCES, dict}
    if issubclass(kind, Enum):
        return {type(each._value_) for each in kind}
    mapping = _is_record(kind) or issubclass(kind, abc.Mapping)
    return {dict} if mapping else set(_SEQUENCES)


def _kind(hint: Any) -> Any:
    hint = _bare(hint)
    return get_origin(hint) or hint


def _structure_items(converter: Any, value: Any, hints: Any, hint: Any) -> list[Any]:
    from cattrs.errors import IterableValidationError, IterableValidationNote

    _expect(value, _SEQUENCES)
    pairs = zip(range(len(value)), hints, strict=False)
    errors = (IterableValidationError, IterableValidationNote)
    return _structure_each(converter, list(value), pairs, hint, errors)


def _structure_each(converter: Any, value: Any, pairs: Any, hint: Any, errors: Any) -> list[Any]:
    """pairs: an index or key of the value, and the hint of what is there.

    errors: the classes of cattrs that stand for these mistakes, and for where one is.
    """
    made, mistakes = [], []
    for key, each in pairs:
        try:
            made.append(converter.structure(value[key], each))
        except Exception as error:
            error.add_note(errors[1](f"at {key!r}", key, each))
            mistakes.append(error)
    if mistakes:
        raise errors[0](f"while rebuilding {hint!r}", mistakes, hint)
    return made


def _expect(value: Any, kinds: tuple[type, ...]) -> None:
    """Refuses what cattrs would take for one: a str as a list of its characters."""
    if not isinstance(value, kinds):
        raise TypeError(f"expected a {kinds[0].__name__}, not a {type(value).__name__}")
