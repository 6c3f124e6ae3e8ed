"""Values to bytes and back: msgpack, with extension types for what msgpack does not have.

A payload is one byte that names the wrapper (0: none) and then what the wrapper made of
the plain msgpack bytes.  All of this is stored data and for ever: a new format gets a new
number.  Integers are big-endian, "signed" is two's complement.

==== ========= =======================================================================
type value     data
==== ========= =======================================================================
1    datetime  flags (1 byte: 1 = fold, 2 = aware), the microseconds from 1970-01-01
               00:00 to what its clock shows (8 bytes, signed), and if aware its offset
               from UTC in microseconds (8 bytes, signed)
2    date      days since 1970-01-01 (4 bytes, signed)
3    time      as 1, with the microseconds since midnight
4    timedelta microseconds n (signed, n.bit_length() // 8 + 1 bytes)
5    Decimal   its text in ASCII: ``-1.50``, ``1E+9``, ``NaN``, ``-Infinity``
6    UUID      16 bytes
7    set       msgpack array of the elements, sorted by their bytes
8    frozenset as 7
9    tuple     msgpack array of the items
10   complex   real part, imaginary part (IEEE doubles)
11   int       as 4; only integers that msgpack cannot hold (beyond 64 bits)
==== ========= =======================================================================

By value, and rebuilt only by a type hint: an enum as its value, a NamedTuple as a tuple, a
dataclass or attrs class as a dict of the fields that its ``__init__`` takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from struct import Struct
from typing import Any
from uuid import UUID

from msgpack import ExtType, Packer, Unpacker, unpackb

from durable.errors import PayloadError, UsageError
from durable.hints import rebuild, stored_fields, why_refused

__all__ = ["DEFAULT_MAX_DEPTH", "DEFAULT_MAX_SIZE", "Codec"]

DEFAULT_MAX_SIZE = 4 * 1024 * 1024
DEFAULT_MAX_DEPTH = 100
DEEPEST = 250  # what the stack of a thread surely bears, in both directions

_PLAIN = b"\x00"  # the codec-id byte of payloads that no wrapper has changed
_SET, _FROZENSET, _TUPLE, _BIG_INT = 7, 8, 9, 11
_BUILD: dict[int, Callable[[Any], Any]] = {_SET: set, _FROZENSET: frozenset, _TUPLE: tuple}
_FLAGS = 3  # all of them
_EPOCH = datetime(1970, 1, 1)
_EPOCH_DAY = _EPOCH.toordinal()
_MICROSECOND = timedelta(microseconds=1)
_SMALL_BUFFER = 64 * 1024
_UNPACKB_LEVELS = 2
_SHORT = 64  # bytes of a payload that are searched quickest, characters of a key in a path
_LONG = 16  # steps of a path
_NAIVE, _AWARE, _COMPLEX = Struct(">Bq"), Struct(">Bqq"), Struct(">dd")


def _clock(micros: int, value: datetime | time) -> bytes:
    if value.tzinfo is None:
        return _NAIVE.pack(value.fold, micros)
    offset = value.utcoffset()
    if offset is None:
        raise ValueError(f"its tzinfo ({value.tzinfo}) has no offset for it")
    return _AWARE.pack(value.fold | 2, micros, offset // _MICROSECOND)


def _read_clock(data: bytes) -> datetime:
    aware = data[0] & 2
    flags, micros, *offset = (_AWARE if aware else _NAIVE).unpack(data)
    if flags > _FLAGS:
        raise ValueError(f"flags {flags} are not known to this version")
    zone: timezone | None = None
    if aware:
        zone = timezone(timedelta(microseconds=offset[0])) if offset[0] else UTC
    moment = _EPOCH + timedelta(microseconds=micros)
    return moment.replace(tzinfo=zone, fold=flags & 1)


def _signed(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)


def _read_signed(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _wall(value: datetime) -> int:
    return (value.replace(tzinfo=None) - _EPOCH) // _MICROSECOND


def _since_midnight(value: time) -> int:
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return seconds * 1_000_000 + value.microsecond


def _decimal(value: Decimal) -> bytes:
    # The user's decimal context may have capitals=0, and then str() writes an "e".
    return str(value).replace("e", "E").encode()


_Format = tuple[int, Callable[[Any], bytes], Callable[[bytes], Any]]
_FORMATS: dict[type, _Format] = {
    datetime: (1, lambda x: _clock(_wall(x), x), _read_clock),
    date: (
        2,
        lambda x: (x.toordinal() - _EPOCH_DAY).to_bytes(4, "big", signed=True),
        lambda data: date.fromordinal(_read_signed(data) + _EPOCH_DAY),
    ),
    time: (3, lambda x: _clock(_since_midnight(x), x), lambda data: _read_clock(data).timetz()),
    timedelta: (
        4,
        lambda x: _signed(x // _MICROSECOND),
        lambda data: _read_signed(data) * _MICROSECOND,
    ),
    Decimal: (5, _decimal, lambda data: Decimal(data.decode("ascii"))),
    UUID: (6, lambda x: x.bytes, lambda data: UUID(bytes=data)),
    complex: (10, lambda x: _COMPLEX.pack(x.real, x.imag), lambda d: complex(*_COMPLEX.unpack(d))),
    int: (_BIG_INT, _signed, _read_signed),
}
_READERS = {number: read for number, _, read in _FORMATS.values()}
_ITERABLE = frozenset({list, dict, tuple, set, frozenset})
_LEAVES = frozenset({type(None), bool, float, str, bytes, *_FORMATS})


def _extension(value: Any) -> ExtType:
    number, write, _ = _FORMATS[type(value)]
    return ExtType(number, write(value))


# A Packer must not be shared between threads while it packs, and making one costs four
# times what packing a few arguments does.  So idle ones wait here: pop and append are atomic.
_idle: list[Packer] = []


def _dump(value: Any) -> bytes:
    try:
        packer = _idle.pop()
    except IndexError:
        packer = Packer(strict_types=True, default=_extension, buf_size=_SMALL_BUFFER)
    data: bytes = packer.pack(value)
    if len(data) <= _SMALL_BUFFER:  # a buffer that has grown is not kept
        _idle.append(packer)
    return data


def _load(data: bytes, level: int = 0) -> Any:
    """level: how many sets and tuples are around.

    unpackb needs 40 kB of the stack, so that a hundred of them inside each other would
    overrun it: deeper down the slower Unpacker is used, which needs 2 kB.
    """
    if level < _UNPACKB_LEVELS:
        return unpackb(data, raw=False, strict_map_key=False, ext_hook=_HOOKS[level])
    if level > DEEPEST:
        raise ValueError(f"more than {DEEPEST} sets and tuples inside each other")
    unpacker = Unpacker(
        raw=False, strict_map_key=False, ext_hook=_hook(level), max_buffer_size=len(data)
    )
    unpacker.feed(data)
    value = unpacker.unpack()
    if unpacker.tell() != len(data):
        raise ValueError("extra bytes at the end of a set or tuple")
    return value


def _hook(level: int) -> Callable[[int, bytes], Any]:
    def read_extension(number: int, data: bytes) -> Any:
        read = _READERS.get(number)
        if read is not None:
            return read(data)
        build = _BUILD.get(number)
        if build is None:
            raise ValueError(f"extension type {number} is not known to this version")
        items = _load(data, level + 1)
        if type(items) is not list:
            raise ValueError(f"extension type {number} holds no array")
        return build(items)

    return read_extension


_HOOKS = [_hook(level) for level in range(_UNPACKB_LEVELS)]


# Headers of arrays, maps, bins and extensions: what may be nested too deep, or be a bytearray
# or an extension of somebody else's, none of which msgpack refuses.  These bytes turn up in
# numbers and texts too, so finding one only means that the value must be looked at.
_HEADERS = {*range(0x80, 0xA0), *range(0xC4, 0xCA), *range(0xD4, 0xD9), *range(0xDC, 0xE0)}
_OTHERS = bytes(set(range(256)) - _HEADERS)
_find_odd = re.compile(rb"[\xc4-\xc9\xd4-\xd8]").search


def _surely_plain(value: Any, max_depth: int) -> bool:
    """Whether everything in it is a leaf or a collection, and no deeper than allowed.

    Written for speed: what holds leaves only is decided in C.  False also for some of what
    `_Walk` accepts after all, such as a tuple as a key.
    """
    if type(value) in _LEAVES:
        return True
    level = [value]
    for _ in range(max_depth):
        below: list[Any] = []
        for each in level:
            items = each
            if type(each) is dict:
                if not _LEAVES.issuperset(map(type, each)):
                    return False
                items = each.values()
            elif type(each) not in _ITERABLE:
                return False
            if not _LEAVES.issuperset(map(type, items)):
                below += [item for item in items if type(item) not in _LEAVES]
        if not below:
            return True
        level = below
    return False


class _Refused(Exception):
    """A value that cannot be stored.  On its way out each container adds where it was."""

    def __init__(self, reason: str, too_deep: object = None) -> None:
        self.reason = reason
        self.too_deep = too_deep is not None
        self.steps: list[tuple[str, int]] = [("", id(too_deep))] if self.too_deep else []

    def message(self, root: str) -> str:
        steps = self.steps[::-1]
        if self.too_deep:
            seen: dict[int, int] = {}
            for depth, (_, container) in enumerate(steps):
                first = seen.setdefault(container, depth)
                if first < depth:
                    outer = _join(root, steps[:first])
                    return f"{_join(root, steps[:depth])}: contains itself (it is {outer} again)"
        return f"{_join(root, steps)}: {self.reason}"


def _join(root: str, steps: list[tuple[str, int]]) -> str:
    texts = [text for text, _ in steps]
    if len(texts) > _LONG:
        texts[_LONG // 2 : -_LONG // 2] = [" ... "]
    return root + "".join(texts)


def _step(key: object) -> str:
    return "." + key if type(key) is str and key.isidentifier() else f"[{_short(key)}]"


def _short(key: object) -> str:
    try:
        text = repr(key)
    except Exception:
        text = type(key).__name__
    return text if len(text) <= _SHORT else text[:_SHORT] + "..."


class _Walk:
    """Turns a value into one that the packer takes, in which only leaves need `_extension`.

    It decides exactly what can be stored and knows where it is, but is several times
    slower than the packer, so it is used only when the packer refuses a value, or has
    taken one that must be looked at.  With ``leaves`` empty it also tries each leaf.
    """

    def __init__(self, max_depth: int, leaves: frozenset[type] = _LEAVES) -> None:
        self._max_depth = max_depth
        self._leaves = leaves

    def take(self, value: Any, depth: int = 1) -> Any:
        """depth: how many containers there are, with this one.  Raises `_Refused`."""
        kind = type(value)
        if kind in _LEAVES:
            return value if kind in self._leaves else _try_leaf(value)
        if issubclass(kind, Enum):
            return self.take(value._value_, depth)
        if kind not in _ITERABLE and (reason := why_refused(value)):
            raise _Refused(reason)
        if depth > self._max_depth:
            raise _Refused(f"nested more than {self._max_depth} deep: see Codec(max_depth=)", value)
        if kind is list:
            return self._items(value, depth)
        if kind is dict:
            return self._dict(value, depth)
        if issubclass(kind, tuple):
            return ExtType(_TUPLE, _dump(self._items(value, depth)))
        if kind is set or kind is frozenset:
            return self._set(value, depth)
        return self._fields(value, depth)

    def _items(self, value: Any, depth: int) -> list[Any]:
        taken: list[Any] = []
        leaves = self._leaves
        try:
            for item in value:
                taken.append(item if type(item) in leaves else self.take(item, depth + 1))
        except _Refused as refused:
            refused.steps.append((f"[{len(taken)}]", id(value)))
            raise
        return taken

    def _dict(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        taken = {}
        leaves = self._leaves
        key: Any = None
        try:
            for key, item in value.items():
                stored = key if type(key) in leaves else self._key(key, depth + 1)
                taken[stored] = item if type(item) in leaves else self.take(item, depth + 1)
        except _Refused as refused:
            refused.steps.append((_step(key), id(value)))
            raise
        if len(taken) < len(value):
            raise _Refused("two of its keys are stored as the same value")
        return taken

    def _set(self, value: Any, depth: int) -> ExtType:
        element: Any = None
        taken = set()
        try:
            for element in value:
                taken.add(self._key(element, depth + 1))
        except _Refused as refused:
            refused.steps.append(("{" + _short(element) + "}", id(value)))
            raise
        if len(taken) < len(value):
            raise _Refused("two of its elements are stored as the same value")
        number = _SET if type(value) is set else _FROZENSET
        header = Packer().pack_array_header(len(taken))
        return ExtType(number, header + b"".join(sorted(map(_dump, taken))))

    def _fields(self, value: Any, depth: int) -> dict[str, Any]:
        taken = {}
        name = ""
        cls: Any = type(value)
        try:
            for name in stored_fields(cls) or ():
                taken[name] = self.take(getattr(value, name), depth + 1)
        except _Refused as refused:
            refused.steps.append(("." + name, id(value)))
            raise
        return taken

    def _key(self, key: Any, depth: int) -> Any:
        """A key of a dict, or an element of a set: it must be one again when it comes back."""
        taken = self.take(key, depth)
        if not _stays_hashable(key):
            kind = type(key).__name__
            raise _Refused(f"a {kind} cannot be a key or an element: it would come back as a dict")
        return taken


def _stays_hashable(value: Any) -> bool:
    if isinstance(value, Enum):
        return _stays_hashable(value._value_)
    if isinstance(value, (tuple, frozenset)):
        return all(map(_stays_hashable, value))
    return type(value) in _LEAVES


def _try_leaf(value: Any) -> Any:
    try:
        _dump(value)
    except UnicodeEncodeError as error:
        raise _Refused(f"a str with a lone surrogate (at {error.start}) is no Unicode") from None
    except Exception as error:
        raise _Refused(f"cannot store this {type(value).__name__}: {error}") from None
    return value


class Codec:
    """Turns values into payloads and back.

    max_size: how many bytes of msgpack a value may become.  Raise it to store larger
    values; a reference to where they are is usually better.  Defaults to 4 MiB.
    max_depth: how many containers may be inside each other, at most 250.  Defaults to 100.

    For compression or encryption override `wrap` and `unwrap`.  A codec has no state and
    may be shared between threads.
    """

    def __init__(
        self, max_size: int = DEFAULT_MAX_SIZE, max_depth: int = DEFAULT_MAX_DEPTH
    ) -> None:
        if not 1 <= max_depth <= DEEPEST:
            raise UsageError(f"max_depth is {max_depth}: it must be from 1 to {DEEPEST}")
        if max_size < 1:
            raise UsageError(f"max_size is {max_size}: it must be at least 1")
        self.max_size = max_size
        self.max_depth = max_depth

    def encode(self, value: Any, path: str = "value") -> bytes:
        """The payload of a value: `pack`, then `wrap`.  Raises `PayloadError`."""
        return self.wrap(self.pack(value, path))

    def decode(self, payload: bytes, hint: Any = Any) -> Any:
        """The value of a payload: `unwrap`, then `unpack`.  Raises `PayloadError`."""
        return self.unpack(self.unwrap(payload), hint)

    def wrap(self, plain: bytes) -> bytes:
        """Plain msgpack as a payload, whose first byte names this codec's way of wrapping.

        Overridden, it must begin with another byte than 0, which stays for ever, too.
        """
        return _PLAIN + plain

    def unwrap(self, payload: bytes) -> bytes:
        """The inverse of `wrap`.  Raises `PayloadError` when the first byte is unknown.

        Overridden, it should give what begins with 0 to ``super()``, so that what was
        stored before can be read, and must not decompress beyond ``max_size``.
        """
        if payload[:1] != _PLAIN:
            raise PayloadError(
                f"the payload was written by another codec (id {payload[0]})"
                if payload
                else "the payload is empty"
            )
        return payload[1:]

    def pack(self, value: Any, path: str = "value") -> bytes:
        """A value as plain msgpack: equal values in the same order give equal bytes.

        path: what the value is called in errors, such as ``args``.
        Raises `PayloadError`, which names the path to what cannot be stored.
        """
        try:
            data = _dump(value)
        except Exception:
            return self._pack_by_walk(value, path)
        size = len(data)
        if size > self.max_size:
            raise self._too_large(path, data)
        if self._suspicious(data, size) and not _surely_plain(value, self.max_depth):
            return self._pack_by_walk(value, path)
        return data

    def unpack(self, data: bytes, hint: Any = Any) -> Any:
        """The value of plain msgpack, with the classes that the hint names.

        hint: a resolved type hint; without one, what was stored by value stays plain.
        Raises `PayloadError` for damaged data, and when the value does not fit the hint.
        """
        size = len(data)
        if size > self.max_size:
            raise self._too_large("the payload", data)
        try:
            value = _load(data)
            if self._suspicious(data, size) and not _surely_plain(value, self.max_depth):
                _Walk(self.max_depth).take(value)
        except _Refused as refused:
            raise PayloadError(f"the payload cannot be read: {refused.message('value')}") from None
        except Exception as error:
            raise PayloadError(
                f"the payload cannot be read: {type(error).__name__}: {error}"
            ) from error
        return value if hint is Any else rebuild(value, hint)

    def _suspicious(self, data: bytes, size: int) -> bool:
        """Whether what was packed or unpacked without complaint must be looked at."""
        if size <= _SHORT and size <= self.max_depth:  # a container has a header
            return _find_odd(data) is not None
        headers = data.translate(None, _OTHERS)
        return len(headers) > self.max_depth or _find_odd(headers) is not None

    def _pack_by_walk(self, value: Any, path: str) -> bytes:
        try:
            try:
                data = _dump(_Walk(self.max_depth).take(value))
            except _Refused:
                raise
            except Exception:  # a leaf: find it
                data = _dump(_Walk(self.max_depth, leaves=frozenset()).take(value))
        except _Refused as refused:
            raise PayloadError(refused.message(path)) from None
        except Exception as error:
            raise PayloadError(f"{path}: cannot be stored: {error!r}") from error
        if len(data) > self.max_size:
            raise self._too_large(path, data)
        return data

    def _too_large(self, path: str, data: bytes) -> PayloadError:
        return PayloadError(
            f"{path}: {len(data):,} bytes are more than the limit of {self.max_size:,}; "
            "store a reference instead, or raise the limit with Codec(max_size=)"
        )
