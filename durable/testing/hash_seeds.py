"""Histories are replayed by processes in which sets have another order.

In one process the order of a set of strings is always the same: a workflow that iterates over one
passes every replay there, and fails on the next worker.  So what a test has recorded is replayed
in processes of their own, each with another PYTHONHASHSEED.  They are started once, and then replay
the histories of every test.

Rules
-----
* Only workflows that another process can import are looked at: by module and name.
* Only with the codec of the library, and without propagators: the other process has no others.
* What differs there in the same way in each, command by command, is no matter of order: the test
  has changed something (a constant of a module), and they do not know of it.
* What passes between the processes is plain data.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import astuple, replace
from functools import reduce
from hashlib import blake2b
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgpack

from durable.codec import Codec
from durable.errors import KitError, NonDeterminismError
from durable.events import load
from durable.interpreter import Coroutine, Interpreter, StepAborted
from durable.model import Instance, Parent, ParentClose, Status
from durable.testing.replays import check_end
from durable.tokens import PROMISE, Token

if TYPE_CHECKING:
    from durable.definitions import WorkflowDefinition
    from durable.testing.env import WorkflowEnv

__all__ = ["OtherOrders"]

LIMIT = 60
"""Seconds that a process may take for what one test has recorded, and for its imports."""

SAME, OTHERWISE, UNKNOWN = range(3)
"""What a process finds: the code does the same, something else, or cannot be had there."""

Answer = tuple[int, str, bytes]
"""What a process finds of a history, what there is to say of it, and a digest of all commands."""


class OtherOrders:
    """The processes: so many, which are started when they are first needed. strict: raise if they
    cannot be had, or cannot import what they are to replay."""

    def __init__(self, count: int, *, strict: bool) -> None:
        self._strict = strict
        self._seeds = range(1, count + 1)
        self._processes: list[_Process] = []

    def start(self) -> None:
        if not self._processes:
            self._processes = [_Process(seed) for seed in self._seeds]

    def close(self) -> None:
        for process in self._processes:
            process.close()
        self._processes = []

    def check(self, envs: Iterable[WorkflowEnv], without: Collection[str] = ()) -> None:
        """Replay what these have recorded. without: modules that are not looked at.

        Raises `NonDeterminismError` if it depends on the order of sets what the code does.
        """
        __tracebackhide__ = True
        recorded = [one for env in envs for one in _recorded(env, without)]
        if not recorded or not self._seeds:
            return
        self.start()
        paths = [path or os.getcwd() for path in sys.path]
        request: bytes = msgpack.packb([paths, recorded])
        try:
            for process in self._processes:
                process.send(request)
            answers = [process.answer() for process in self._processes]
        except OSError as error:
            self.close()
            self._seeds = range(0)  # once is enough
            if self._strict:
                raise KitError(f"no replay with another PYTHONHASHSEED: {error}") from error
            return
        for found in zip(*answers, strict=True):
            self._judge(found)

    def _judge(self, found: Iterable[Answer]) -> None:
        """What each of the processes has found of one history."""
        __tracebackhide__ = True
        answers = list(zip(self._seeds, map(tuple, found), strict=True))
        unknown = [(seed, told) for seed, (what, told, _) in answers if what == UNKNOWN]
        if unknown and self._strict:
            seed, told = unknown[0]
            raise KitError(f"no replay with PYTHONHASHSEED={seed}: {told}")
        if not unknown and len({answer for _, answer in answers}) > 1:
            seed, told = next((s, told) for s, (what, told, _) in answers if what == OTHERWISE)
            raise NonDeterminismError(f"with PYTHONHASHSEED={seed}: {told}")


class _Process:
    """One of them, seen from here. Raises `OSError` when it does not answer."""

    def __init__(self, seed: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", __name__],
            env={
                **os.environ,
                "PYTHONHASHSEED": str(seed),
                "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            },
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self._unpacker = msgpack.Unpacker()

    def send(self, request: bytes) -> None:
        rest = memoryview(request)
        while rest:
            rest = rest[self._in.write(rest) :]

    def answer(self) -> list[Answer]:
        while True:
            for answer in self._unpacker:
                return answer  # type: ignore[no-any-return]  # it is what `main` sends
            if not select.select([self._out], [], [], LIMIT)[0]:
                raise TimeoutError(f"it took longer than {LIMIT} s")
            data = self._out.read(1 << 16)
            if not data:
                raise BrokenPipeError(f"the process has ended, with {self._process.wait()}")
            self._unpacker.feed(data)

    def close(self) -> None:
        self._process.kill()
        for pipe in (self._in, self._out):
            pipe.close()
        self._process.wait()


def _recorded(env: WorkflowEnv, without: Collection[str]) -> Iterator[list[Any]]:
    """Of each run: module and name of its workflow, the instance, the history, the secret."""
    if env.carries or type(env.client.codec) is not Codec:
        return
    for instance, definition, history in env.replayed:
        module, name = definition.fn.__module__, definition.fn.__qualname__
        if module in without:
            continue
        try:
            is_importable = _found(module, name) is definition
        except (AttributeError, ImportError):
            is_importable = False  # it was made in a function
        if is_importable:
            yield [module, name, astuple(instance), history, env.client.store.secret()]


def _found(module: str, name: str) -> WorkflowDefinition[..., Any]:
    found: Any = reduce(getattr, name.split("."), import_module(module))
    return found  # type: ignore[no-any-return]  # it is what it is compared with


# -- in the other process -----------------------------------------------------------------


def main() -> None:
    """Answer requests until there are no more. What the imported code prints goes nowhere."""
    requests, answers = os.fdopen(os.dup(0), "rb", 0), os.fdopen(os.dup(1), "wb", 0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    for paths, recorded in msgpack.Unpacker(requests, max_buffer_size=0):
        sys.path[:] = paths
        answers.write(msgpack.packb([_replayed(*one) for one in recorded]))


def _replayed(
    module: str, name: str, fields: list[Any], history: list[list[Any]], secret: bytes
) -> Answer:
    """What comes of a history here."""
    try:
        definition = _found(module, name)
    except BaseException as error:  # of their imports, which may do anything
        told = f"{module} cannot be imported there: {type(error).__name__}: {error}"
        return UNKNOWN, told, b""
    codec, instance = Codec(), _instance(fields)
    uid, run = instance.uid, instance.run
    interpreter = _Traced(
        definition, codec, instance.id, run,
        lambda number: Token(PROMISE, uid, run, number).text(secret),
    )  # fmt: skip
    try:
        interpreter.replay([load(data, seq) for seq, data in history])
        check_end(interpreter, (history[-1][0], history[-1][1]), codec)
    except (NonDeterminismError, StepAborted) as error:
        return OTHERWISE, str(error), interpreter.trace.digest()
    except Exception as error:
        return UNKNOWN, f"{type(error).__name__}: {error}", b""
    finally:
        interpreter.close()
    return SAME, "", b""


class _Traced(Interpreter):
    """Keeps what the code issues: a mismatch tells no more than that it began to differ."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.trace = blake2b()

    def issue(self, coroutine: Coroutine, command: Any) -> None:
        self.trace.update(re.sub(r" at 0x[0-9a-f]+", "", repr(command)).encode())
        super().issue(coroutine, command)


def _instance(fields: list[Any]) -> Instance:
    made = Instance(*fields)
    parent = None
    if fields[-2] is not None:
        uid, id, run, command, close = fields[-2]
        parent = Parent(uid, id, run, command, ParentClose(close))
    return replace(made, status=Status(made.status), tags=tuple(made.tags), parent=parent)


if __name__ == "__main__":
    main()
