"""Live generators of instances that nobody holds just now: least recently used go first."""

from __future__ import annotations

from collections import OrderedDict

from durable.interpreter import Interpreter


class Cache:
    """Interpreters by uid. One is used again only if its run and length still match."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._items: OrderedDict[bytes, Interpreter] = OrderedDict()

    def take(self, uid: bytes, run: int, length: int) -> Interpreter | None:
        """The interpreter, if it is what the store has; it leaves the cache."""
        interpreter = self._items.pop(uid, None)
        if interpreter is None:
            return None
        if interpreter.run == run and interpreter.seq == length:
            return interpreter
        interpreter.close()
        return None

    def peek(self, uid: bytes) -> Interpreter | None:
        """The interpreter as it is, to look at; it stays where it is."""
        return self._items.get(uid)

    def put(self, uid: bytes, interpreter: Interpreter) -> None:
        self._items[uid] = interpreter
        while len(self._items) > self.size:
            _, oldest = self._items.popitem(last=False)
            oldest.close()

    def clear(self) -> None:
        while self._items:
            self._items.popitem()[1].close()

    def __len__(self) -> int:
        return len(self._items)
