"""What ``durable show`` prints of an instance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from durable.cli.errors import failure_text
from durable.cli.text import escape, moment_text, shorten, value_text

MAX_ERROR = 80


def text_fields(found: dict[str, Any], utc: bool) -> Iterator[tuple[str, str]]:
    """Names and texts for people; what is empty is left out by the printer."""
    version = f" (version {found['version']})" if found["version"] is not None else ""
    yield "id", escape(found["id"])
    yield "workflow", escape(found["workflow"]) + version
    yield "status", found["status"]
    yield "reason", escape(found["reason"], "\n")
    yield "blocked by", escape(found["blocked_by"])
    yield "queue", escape(found["queue"])
    yield "run", str(found["run"])
    yield "arguments", _arguments(found)
    yield "variables", value_text(found["vars"]) if found["vars"] else ""
    yield "result", value_text(found["result"]) if found["status"] == "completed" else ""
    yield "failure", _failure(found["failure"])
    yield "memo", "" if found["memo"] is None else value_text(found["memo"])
    yield "tags", escape(", ".join(found["tags"]))
    for name in ("created", "started", "finished", "wake"):
        yield name, moment_text(found[f"{name}_at"], utc)
    yield "history", f"{found['history_length']} events"
    yield "owner", escape(found["owner"])
    yield "unread signals", escape(", ".join(found["unread"]))


def _arguments(found: dict[str, Any]) -> str:
    if isinstance(found["args"], str):  # it could not be read, and says why
        return escape(found["args"])
    given = [value_text(value) for value in found["args"]]
    given += [f"{escape(name)}={value_text(value)}" for name, value in found["kwargs"].items()]
    return ", ".join(given)


def _failure(failure: Any) -> str:
    if failure is None:
        return ""
    trace = failure_text(failure)
    return escape(f"{failure}\n{trace}" if trace else str(failure), "\n")


def task_lines(
    tasks: Sequence[dict[str, Any]], utc: bool
) -> tuple[tuple[str, ...], list[list[str]]]:
    """Titles and lines of the table of scheduled activities."""
    lines = []
    for task in tasks:
        state = task["state"] if task["state"] == "running" else _waiting(task, utc)
        attempt = f"{task['attempt']}/{task.get('max_attempts') or '∞'}"
        error = shorten(escape(task["last_error"] or ""), MAX_ERROR)
        lines.append([str(task["command"]), escape(task["name"]), attempt, state, error])
    return ("COMMAND", "ACTIVITY", "ATTEMPT", "STATE", "LAST ERROR"), lines


def _waiting(task: dict[str, Any], utc: bool) -> str:
    if not task["known_by_a_worker"]:
        return "waits for a worker that knows it"
    return f"waiting, due {moment_text(task['wake_at'], utc)}"
