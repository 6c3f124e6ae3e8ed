"""``--retain completed=7d,failed=90d``: how long what has ended is kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from durable.cli.options import FINISHED, parse_duration

Ages = dict[str, float]
"""Seconds by status."""

if TYPE_CHECKING:
    _Ages = click.ParamType[Ages]
else:  # older versions of click have no brackets here
    _Ages = click.ParamType


class RetainType(_Ages):
    """Ages by status, with commas between them."""

    name = "retain"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Ages:
        if isinstance(value, dict):
            return value
        ages: Ages = {}
        for part in value.split(","):
            status, _, text = part.strip().partition("=")
            age = parse_duration(text)
            if status not in FINISHED or age is None:
                self.fail(
                    f"{part!r} is no STATUS=AGE like completed=7d; the statuses are "
                    f"{', '.join(FINISHED)}",
                    param,
                    ctx,
                )
            ages[status] = age
        return ages


RETAIN = RetainType()


def retained(given: Iterable[Ages]) -> Ages:
    """All of them; the last one counts."""
    return {status: age for ages in given for status, age in ages.items()}
