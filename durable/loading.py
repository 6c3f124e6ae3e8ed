"""Modules by name: what ``durable run orders:process_order`` and ``durable worker`` take.

A module is named like in an import (``shop.orders``; the current directory is on the path)
or by its file (``shop/orders.py``; the file's directory is on the path then).
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

from durable.errors import UsageError

OWN_FILES = (__file__, importlib.__file__)
MAX_PLACES = 6


def split_target(target: str) -> tuple[str, str | None]:
    """``"module:workflow"`` as two names; the second is None if there is no colon.

    >>> split_target("shop/orders.py:process_order")
    ('shop/orders.py', 'process_order')
    """
    module, colon, workflow = target.rpartition(":")
    if not colon:
        return target, None
    if not module or not workflow:
        raise UsageError(f"{target!r} is no MODULE:WORKFLOW, like orders:process_order")
    return module, workflow


def load_module(name: str) -> ModuleType:
    """Import a module by its dotted name or by the path of its file.

    Raises `UsageError` that says where it was looked for, or what went wrong in it: the
    traceback of the module's own lines is a note of the error.
    """
    if name.endswith(".py") or "/" in name:
        return _load_file(name)
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"{name!r} is neither the name of a module nor a file ending in .py")
    _put_on_path(os.getcwd())
    return _import(name)


def _load_file(name: str) -> ModuleType:
    path = Path(name).absolute()
    if path.suffix != ".py" and path.with_suffix(".py").is_file():
        path = path.with_suffix(".py")
    if not path.is_file():
        raise UsageError(f"there is no file {path}{_close_file(path)}")
    if not path.stem.isidentifier():
        raise UsageError(f"{path.name} cannot be imported: {path.stem!r} is no name in Python")
    _put_on_path(str(path.parent))
    module = _import(path.stem)
    found = getattr(module, "__file__", None)
    if found is None or not os.path.samefile(found, path):
        raise UsageError(
            f"{path} cannot be imported: the name {path.stem!r} is taken by "
            f"{found or 'a module of Python itself'}; give the file another name"
        )
    return module


def _put_on_path(directory: str) -> None:
    if directory not in sys.path:
        sys.path.insert(0, directory)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise UsageError(_not_found(name, missing)) from None
        raise _failed(name, f"it imports {missing!r}, which is not there", error) from error
    except SystemExit as error:
        raise _failed(name, f"it ended with SystemExit({error.code!r})", error) from error
    except Exception as error:
        raise _failed(name, f"{type(error).__name__}: {error}", error) from error


def _failed(name: str, why: str, error: BaseException) -> UsageError:
    """The error for a module that is there and cannot be imported."""
    wrong = UsageError(f"module {name} cannot be imported: {why}")
    wrong.add_note(_own_traceback(error))
    return wrong


def _own_traceback(error: BaseException) -> str:
    """The traceback without the frames of this file and of the import system."""
    shown = traceback.TracebackException.from_exception(error)
    frames = [
        frame
        for frame in shown.stack
        if frame.filename not in OWN_FILES and not frame.filename.startswith("<frozen importlib")
    ]
    shown.stack = traceback.StackSummary.from_list(frames)
    return "".join(shown.format()).rstrip()


def _not_found(name: str, missing: str) -> str:
    part = f" ({missing!r} is not there)" if missing != name else ""
    places = [entry or os.getcwd() for entry in sys.path]
    looked = "\n".join(f"  {place}" for place in places[:MAX_PLACES])
    more = len(places) - MAX_PLACES
    rest = f"\n  and {more} more places of sys.path" if more > 0 else ""
    close = _close_file(Path(os.getcwd(), f"{name}.py"))
    return (
        f"there is no module {name!r}{part}{close}\n"
        f"current directory: {os.getcwd()}\nlooked in:\n{looked}{rest}"
    )


def _close_file(path: Path) -> str:
    """A suggestion: a file beside the one that is not there."""
    try:
        names = [entry.name for entry in path.parent.glob("*.py")]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, 1)
    return f"; did you mean {close[0]}?" if close else ""
