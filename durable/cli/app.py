"""The group of all commands: a table, and how a command is loaded when it is asked for."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from durable import __version__
from durable.cli.errors import State, report

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Run workflows": {
        "run": ("durable.cli.run", "Run one workflow here, until it ends."),
        "worker": ("durable.cli.worker", "Run workflows and activities of modules."),
        "demo": ("durable.cli.demo", "See a workflow survive a SIGKILL."),
    },
    "Act": {
        "start": ("durable.cli.start", "Start a workflow; workers run it."),
        "signal": ("durable.cli.control", "Send a signal to an instance."),
        "cancel": ("durable.cli.control", "Ask instances to stop; they may clean up."),
        "terminate": ("durable.cli.control", "End instances now; none of their code runs."),
        "pause": ("durable.cli.control", "Let instances rest until they are resumed."),
        "resume": ("durable.cli.control", "Let paused instances go on."),
        "retry": ("durable.cli.control", "Let instances go on from where they went wrong."),
        "fork": ("durable.cli.start", "Start a new instance from a point of another's history."),
        "complete": ("durable.cli.complete", "Give a promise or an activity its result."),
        "fail": ("durable.cli.complete", "Let a promise or an activity fail."),
    },
    "Look": {
        "list": ("durable.cli.look", "List instances, newest first."),
        "show": ("durable.cli.look", "Show all that is known of an instance."),
        "history": ("durable.cli.look", "Show the events of an instance."),
        "result": ("durable.cli.look", "Print the result of an instance as JSON."),
        "tree": ("durable.cli.tree", "Show an instance and its children."),
        "where": ("durable.cli.whereabouts", "Show the line, stack and variables of a workflow."),
        "vars": ("durable.cli.look", "Print what a workflow has set by set_var."),
        "stats": ("durable.cli.look", "Count instances, tasks, messages and workers."),
        "workers": ("durable.cli.look", "List the registered workers."),
    },
    "Check": {
        "lint": ("durable.cli.lint", "Find mistakes in workflow code, without running it."),
        "replay": ("durable.cli.replay", "Check code against recorded histories."),
    },
    "Keep": {
        "store": ("durable.cli.store", "Make, check and migrate the store."),
        "export": ("durable.cli.transfer", "Print instances with their histories."),
        "import": ("durable.cli.transfer", "Put exported instances into a store."),
        "delete": ("durable.cli.control", "Delete finished instances."),
        "purge": ("durable.cli.control", "Delete instances that finished long ago."),
        "bench": ("durable.bench.cli:bench", "Measure what this machine and store can do."),
        "completion": ("durable.cli.completion", "Print the completion script for a shell."),
    },
}

COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class LazyGroup(click.Group):
    """Imports the file of a command when the command is used, and reports errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            module, _, attribute = COMMANDS[cmd_name][0].partition(":")
            loaded = importlib.import_module(module)
            command: click.Command = getattr(loaded, attribute or f"{cmd_name}_command")
            accept_debug(command)
            self.add_command(command, cmd_name)
        return self.commands[cmd_name]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            close = difflib.get_close_matches(name, COMMANDS, 3)
            hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise click.UsageError(f"there is no command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry[1]) for name, entry in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [
            CompletionItem(name, help=entry[1])
            for name, entry in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """As click's, but errors are one line and have the exit codes of this program."""
        state = State()
        extra.setdefault("obj", state)
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        try:
            code = super().main(args, prog_name, complete_var, False, **extra)
            if sys.stdout is not None:  # it is, where it was closed before we began
                sys.stdout.flush()
        except Exception as error:
            sys.exit(report(error, state))
        sys.exit(code if isinstance(code, int) else 0)


def set_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Remember that tracebacks are wanted."""
    state = ctx.find_object(State)
    if value and state is not None:
        state.debug = True


def accept_debug(command: click.Command) -> None:
    """Let a command, and those below it, take ``--debug`` themselves."""
    command.params.append(_debug_option())
    if isinstance(command, click.Group):
        for child in command.commands.values():
            accept_debug(child)


def _debug_option() -> click.Option:
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=set_debug,
        envvar="DURABLE_DEBUG",
        help="Show tracebacks of errors.",
    )


app = LazyGroup(
    name="durable",
    help="Durable workflows as plain Python generators.\n\n"
    "See `durable COMMAND --help`. Every option can be given by an environment variable: "
    "DURABLE_STORE for --store, DURABLE_WORKER_THREADS for --threads of `durable worker`.",
    context_settings={
        "auto_envvar_prefix": "DURABLE",
        "help_option_names": ["-h", "--help"],
    },
    params=[_debug_option()],
)
click.version_option(__version__, prog_name="durable", message="%(prog)s %(version)s")(app)
