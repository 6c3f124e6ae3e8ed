"""Spans for OpenTelemetry that know of replay.

A block of a workflow may begin in one process and end in another, days later, and be
replayed in between.  So nothing is kept open: when the block ends, and this is no replay,
one span is made, from the moment at which it began to the moment at which it ended, both by
the workflow's clock.  It is no event of the history.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from durable.current import acting
from durable.errors import Cancelled

__all__ = ["span"]


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[None]:
    """A span around a block of a workflow; nothing without the package opentelemetry-api.

    attributes: shown with the span, beside the instance, its run and the workflow.
    Raises `UsageError` outside a workflow.

    >>> with span("payment", order=order_id):
    ...     receipt = yield charge.call(order_id)
    """
    interpreter = acting("span").interpreter
    began = interpreter.at_us
    try:
        yield
    except GeneratorExit:  # evicted: it goes on elsewhere
        raise
    except (Exception, Cancelled) as error:
        _report(interpreter, name, began, attributes, error)
        raise
    _report(interpreter, name, began, attributes, None)


def _report(
    interpreter: Any, name: str, began: int, attributes: dict[str, Any], error: BaseException | None
) -> None:
    if interpreter.silent:
        return
    try:
        from opentelemetry import trace
    except ImportError:
        return
    try:
        _made(trace, interpreter, name, began, attributes, error)
    except Exception as broken:  # of the tracer: no business of the workflow
        interpreter.log(logging.WARNING, "span %r was lost: %r", name, broken)


def _made(
    trace: Any,
    interpreter: Any,
    name: str,
    began: int,
    attributes: dict[str, Any],
    error: BaseException | None,
) -> None:
    own = {
        "durable.instance": interpreter.instance_id,
        "durable.run": interpreter.run,
        "durable.workflow": interpreter.definition.name,
    }
    made = trace.get_tracer("durable").start_span(
        name, attributes={**own, **attributes}, start_time=began * 1000
    )
    if error is not None:
        made.record_exception(error, timestamp=interpreter.at_us * 1000)
        made.set_status(trace.StatusCode.ERROR, str(error))
    made.end(interpreter.at_us * 1000)
