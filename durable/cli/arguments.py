"""Arguments of workflows and values of signals, from the command line: each is JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Any

import click


def json_value(text: str, what: str) -> Any:
    """The value of a JSON text; what is none is refused, with how to write it."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        quoted = shlex.quote(json.dumps(text, ensure_ascii=False))
        raise click.UsageError(
            f"{what} is no JSON: {text}\n"
            f"A text needs quotes of its own, inside those of the shell: {quoted}"
        ) from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def json_values(texts: Iterable[str]) -> list[Any]:
    """Positional arguments."""
    return [json_value(text, f"argument {place}") for place, text in enumerate(texts, 1)]


def named_values(params: Iterable[str]) -> dict[str, Any]:
    """Keyword arguments: each ``key=text`` or ``key:=json``."""
    found: dict[str, Any] = {}
    for param in params:
        name, equals, text = param.partition("=")
        is_json = name.endswith(":")
        name = name.removesuffix(":")
        if not equals or not name.isidentifier():
            raise click.UsageError(f"-P {param} is neither KEY=TEXT nor KEY:=JSON")
        if name in found:
            raise click.UsageError(f"-P {name} is given twice")
        found[name] = json_value(text, f"-P {name}") if is_json else text
    return found
