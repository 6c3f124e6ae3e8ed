"""Histories are replayed by processes in which sets have another order.

In one process the order of a set of strings is always the same: a workflow that iterates over one
passes every replay there, and fails on the next worker.  So what a test has recorded is replayed
in processes of their own, each with another PYTHONHASHSEED.

Rules
-----
* Only workflows that another process can import are looked at: by module and name.
* Only with the codec of the library, and without propagators: the other process has no others.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import astuple, replace
from functools import reduce
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgpack

from durable.codec import Codec
from durable.errors import KitError, NonDeterminismError
from durable.model import Instance, Parent, ParentClose, Status
from durable.runner.held import revive

if TYPE_CHECKING:
    from durable.definitions import WorkflowDefinition
    from durable.testing.env import WorkflowEnv

__all__ = ["check_hash_seeds"]

OTHERWISE = 3
"""The exit code of a process in which the code decides otherwise."""


def check_hash_seeds(envs: Iterable[WorkflowEnv], count: int) -> None:
    """Replay what these have recorded with so many other orders of sets.

    Raises `NonDeterminismError` if the code decides otherwise there, `KitError` if a module cannot
    be imported there.
    """
    recorded = [one for env in envs for one in _recorded(env)]
    if not recorded:
        return
    given: bytes = msgpack.packb([[path for path in sys.path if path], recorded])
    started = [(seed, _start(seed)) for seed in range(1, count + 1)]
    ended = [(seed, *one.communicate(given), one.returncode) for seed, one in started]
    for seed, told, errors, code in ended:
        if code == OTHERWISE:
            raise NonDeterminismError(f"with PYTHONHASHSEED={seed}: {told.decode()}")
        if code:
            why = errors.decode().strip().rpartition("\n")[2]
            raise KitError(f"no replay with PYTHONHASHSEED={seed}: {why}")


def _start(seed: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", __name__],
        env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _recorded(env: WorkflowEnv) -> Iterator[list[Any]]:
    """Of each run: module and name of its workflow, the instance, the history, the secret."""
    if env.carries or type(env.client.codec) is not Codec:
        return
    for instance, definition, history in env.replayed:
        module, name = definition.fn.__module__, definition.fn.__qualname__
        try:
            is_importable = _found(module, name) is definition
        except (AttributeError, ImportError):
            is_importable = False  # it was made in a function
        if is_importable:
            yield [module, name, astuple(instance), history, env.client.store.secret()]


def _found(module: str, name: str) -> WorkflowDefinition[..., Any]:
    found: Any = reduce(getattr, name.split("."), import_module(module))
    return found  # type: ignore[no-any-return]  # it is what it is compared with


def _instance(fields: list[Any]) -> Instance:
    made = Instance(*fields)
    parent = None
    if fields[-2] is not None:
        uid, id, run, command, close = fields[-2]
        parent = Parent(uid, id, run, command, ParentClose(close))
    return replace(made, status=Status(made.status), tags=tuple(made.tags), parent=parent)


def main() -> None:
    """What another process does."""
    paths, recorded = msgpack.unpackb(sys.stdin.buffer.read())
    sys.path[:] = paths
    for module, name, fields, history, secret in recorded:
        events = [(seq, data) for seq, data in history]
        try:
            revive(
                _instance(fields), len(events), _found(module, name), events, Codec(),
                lambda secret=secret: secret,  # type: ignore[misc]
            ).close()  # fmt: skip
        except NonDeterminismError as error:
            print(error, end="")
            sys.exit(OTHERWISE)


if __name__ == "__main__":
    main()
