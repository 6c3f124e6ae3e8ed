"""What ``durable show`` prints of an instance."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from durable.cli.errors import failure_text
from durable.cli.text import counted, duration_text, moment_text, shorten, value_text
from durable.reprs import escape

MAX_ERROR = 80
MAX_DETAILS = 40


def text_fields(found: dict[str, Any], utc: bool) -> Iterator[tuple[str, str]]:
    """Names and texts for people; what is empty is left out by the printer."""
    version = f" (version {found['version']})" if found["version"] is not None else ""
    yield "id", escape(found["id"])
    yield "workflow", escape(found["workflow"]) + version
    yield "status", found["status"]
    yield "reason", _reason(found)
    yield "blocked by", escape(found["blocked_by"])
    yield "parent", _parent(found["parent"])
    yield "queue", escape(found["queue"])
    yield "run", str(found["run"])
    yield "attempt", str(found["attempt"]) if found["attempt"] > 1 else ""
    yield "time limit", "" if found["timeout"] is None else duration_text(found["timeout"])
    yield "arguments", _arguments(found)
    yield "variables", value_text(found["vars"]) if found["vars"] else ""
    yield "result", value_text(found["result"]) if found["status"] == "completed" else ""
    yield "failure", _failure(found["failure"])
    yield "memo", "" if found["memo"] is None else value_text(found["memo"])
    yield "tags", escape(", ".join(found["tags"]))
    for name in ("created", "started", "finished", "wake"):
        yield name, moment_text(found[f"{name}_at"], utc)
    yield "history", counted(found["history_length"], "event")
    yield "owner", escape(found["owner"])
    yield "unread signals", escape(", ".join(found["unread"]))


def _reason(found: dict[str, Any]) -> str:
    """Why it is as it is, and what can be done about it."""
    reason, id = escape(found["reason"], "\n"), escape(shlex.quote(found["id"]))
    if found["status"] == "paused":
        return f"{reason}\n`durable resume {id}` lets it go on".lstrip()
    if found["status"] == "blocked" and found["blocked_by"]:
        return f"{reason}\nwith other code it goes on by itself; `durable retry {id}` tries now"
    return reason


def _parent(parent: dict[str, Any] | None) -> str:
    if parent is None:
        return ""
    return f"{escape(parent['id'])}, run {parent['run']} (at its end: {parent['close']})"


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
    titles = ("COMMAND", "ACTIVITY", "ATTEMPT", "STATE", "HEARTBEAT", "LAST ERROR")
    lines = []
    for task in tasks:
        attempt = f"{task['attempt']}/{task.get('max_attempts') or '∞'}"
        details = task["details"]
        beat = "" if details is None else value_text(details, MAX_DETAILS)
        error = shorten(escape(task["last_error"] or ""), MAX_ERROR)
        command, name = str(task["command"]), escape(task["name"])
        lines.append([command, name, attempt, _state(task, utc), beat, error])
    return titles, lines


def _state(task: dict[str, Any], utc: bool) -> str:
    if task["state"] == "running":
        return "running, asked to stop" if task["cancel_requested"] else "running"
    if task["state"] == "awaits completion":
        return "awaits completion from outside"
    if not task["known_by_a_worker"]:
        return "waits for a worker that knows it"
    return f"waiting, due {moment_text(task['wake_at'], utc)}"
