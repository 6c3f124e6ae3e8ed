"""How errors are shown, and the exit code of each."""

from __future__ import annotations

import os
import re
import sys
import traceback
from dataclasses import dataclass

import click

from durable.errors import (
    DurableError,
    InstanceAlreadyExists,
    InstanceNotFound,
    OutcomeUnknown,
    PayloadError,
    ResultTimeout,
    StoreError,
    UsageError,
    WorkflowError,
    WrongStatus,
)
from durable.reprs import escape

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_STORE = 3
EXIT_NOT_FOUND = 4
EXIT_TIMEOUT = 5

EXIT_CODES: tuple[tuple[type[Exception], int], ...] = (
    (WrongStatus, EXIT_FAILED),
    (UsageError, EXIT_USAGE),
    (PayloadError, EXIT_USAGE),
    (StoreError, EXIT_STORE),
    (OutcomeUnknown, EXIT_STORE),
    (InstanceNotFound, EXIT_NOT_FOUND),
    (ResultTimeout, EXIT_TIMEOUT),
)

HINTS: tuple[tuple[type[Exception], str], ...] = (
    (InstanceNotFound, "`durable list` shows what there is; is --store the right one?"),
    (InstanceAlreadyExists, "`--if-exists use` takes the one that is there"),
)

_NO_ARGS: tuple[type[Exception], ...] = tuple(
    cls for cls in [getattr(click.exceptions, "NoArgsIsHelpError", None)] if cls is not None
)


@dataclass
class State:
    """What the commands of one call share. debug: show tracebacks."""

    debug: bool = False


class Failed(click.ClickException):
    """A command could not do what it was asked to, for a reason that needs no traceback.

    hint: what to do about it.
    """

    def __init__(self, message: str, hint: str = "", exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = exit_code


def exit_code_of(error: Exception) -> int:
    """The exit code that an error has."""
    return next((code for cls, code in EXIT_CODES if isinstance(error, cls)), EXIT_FAILED)


def say(message: str) -> None:
    """A line for people, on stderr."""
    click.echo(escape(message, "\n\t"), err=True)


def report(error: Exception, state: State) -> int:
    """Show an error on stderr; gives the exit code."""
    if isinstance(error, BrokenPipeError):
        # Nobody reads stdout any more; what is left in its buffer goes nowhere, quietly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    if state.debug and not isinstance(error, click.ClickException | click.Abort):
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    if isinstance(error, click.Abort):
        say("aborted")
        return EXIT_FAILED
    if isinstance(error, click.ClickException):
        return _report_click(error)
    if isinstance(error, DurableError):
        say(f"error: {error}")
        for note in _notes(error, state):
            say(note)
        hint = next((hint for cls, hint in HINTS if isinstance(error, cls)), "")
        if hint:
            say(f"hint: {hint}")
        return exit_code_of(error)
    say(f"error: {type(error).__name__}: {error}")
    if not state.debug:
        say("hint: this is not expected; --debug shows the traceback")
    return EXIT_FAILED


def _notes(error: DurableError, state: State) -> list[str]:
    """What else is shown: tracebacks of the user's own code."""
    notes = list(getattr(error, "__notes__", ()))
    if isinstance(error, WorkflowError) and error.error is not None:
        notes.append(failure_text(error.error))
    return notes if not state.debug else []


def failure_text(failure: object) -> str:
    """The remote traceback of a failure, and of its causes."""
    parts: list[str] = []
    while failure is not None:
        trace = str(getattr(failure, "traceback", "")).rstrip()
        if trace:
            parts.append(f"Traceback (where it ran):\n{trace}\n{failure}")
        elif parts:
            parts.append(str(failure))
        failure = getattr(failure, "cause", None)
    return "\n\nbecause of:\n\n".join(parts)


def _report_click(error: click.ClickException) -> int:
    if isinstance(error, _NO_ARGS):
        error.show()
        return error.exit_code
    if isinstance(error, click.UsageError) and error.ctx is not None:
        say(error.ctx.get_usage())
    say(f"error: {error.format_message()}")
    hint = error.hint if isinstance(error, Failed) else ""
    option = getattr(error, "option_name", "")
    if isinstance(option, str) and re.fullmatch(r"-\d.*", option):
        hint = f"a negative number comes after --, like: -- {option}"
    elif isinstance(error, click.UsageError) and error.ctx is not None and not hint:
        hint = f"`{error.ctx.command_path} --help` shows what there is"
        if isinstance(option, str) and re.fullmatch(r"-\w", option):
            hint += "; an argument that begins with - comes after --"
    if hint:
        say(f"hint: {hint}")
    return error.code if isinstance(error, Failed) else error.exit_code
