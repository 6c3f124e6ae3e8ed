"""``durable worker``: run what the modules define, until told to stop."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any

import click

from durable.cli.connect import client_at
from durable.cli.errors import say
from durable.cli.options import DURATION, store_option
from durable.cli.retain import RETAIN, retained
from durable.cli.text import counted

DEFAULT_THREADS = 16
DEFAULT_MAX_HISTORY = 50_000
DEFAULT_MAX_PENDING = 100_000
DEFAULT_MAX_STEP_BYTES = 64 * 1024 * 1024
STOPS = (signal.SIGTERM, signal.SIGINT)
SLOTS = {"thread": ("thread", "threads"), "process": ("activity process", "activity processes")}
PASSED_ON = (
    "threads", "executor", "lease", "grace", "step_timeout", "unknown_after", "max_history",
    "max_pending", "max_step_bytes", "build",
)  # fmt: skip
"""Options that children of ``--processes`` get as they are."""
LEVELS = ("debug", "info", "warning", "error")


@click.command("worker")
@click.argument("modules", nargs=-1, required=True, metavar="MODULE...")
@click.option(
    "-q", "--queue", "queues", multiple=True, default=["default"], show_default=True,
    help="A queue to serve; may be repeated.",
)  # fmt: skip
@click.option(
    "-t", "--threads", type=click.IntRange(1), default=DEFAULT_THREADS, show_default=True,
    help="Activities at one time, in each process.",
)  # fmt: skip
@click.option(
    "-p", "--processes", type=click.IntRange(1), default=1, show_default=True,
    help="Worker processes; one that dies is started again.",
)  # fmt: skip
@click.option("--burst", is_flag=True, help="Stop when nothing is due any more.")
@click.option(
    "--grace", type=DURATION, default="30s", show_default=True,
    help="How long running activities may take to finish at a stop.",
)  # fmt: skip
@click.option(
    "--lease", type=DURATION, default="30s", show_default=True,
    help="Silence after which other workers take over.",
)  # fmt: skip
@click.option(
    "--step-timeout", type=DURATION, default="10s", show_default=True,
    help="How long one step of a workflow may take; then its instance is blocked.",
)  # fmt: skip
@click.option(
    "--unknown-after", type=DURATION, default="5s", show_default=True,
    help="Time until an instance that no worker knows is blocked.",
)  # fmt: skip
@click.option(
    "--max-history", type=click.IntRange(1), default=DEFAULT_MAX_HISTORY, show_default=True,
    metavar="EVENTS", help="Events that a run may have; at more its instance is blocked.",
)  # fmt: skip
@click.option(
    "--max-pending", type=click.IntRange(1), default=DEFAULT_MAX_PENDING, show_default=True,
    metavar="COMMANDS", help="Commands of a run that may wait at one time.",
)  # fmt: skip
@click.option(
    "--max-step-bytes", type=click.IntRange(1), default=DEFAULT_MAX_STEP_BYTES,
    show_default=True, metavar="BYTES",
    help="What a workflow may write in one step; at more its instance is blocked.",
)  # fmt: skip
@click.option(
    "--retain", multiple=True, type=RETAIN, metavar="STATUS=AGE",
    help="Purge what ended so, so long ago, like completed=7d,failed=90d.  [default: nothing]",
)  # fmt: skip
@click.option(
    "--build", metavar="NAME",
    help="The version of the code.  [default: a digest of the modules' sources]",
)  # fmt: skip
@click.option(
    "--executor", type=click.Choice(["thread", "process"]), default="thread", show_default=True,
    help="Where activities run; process is for those that use the CPU.",
)  # fmt: skip
@click.option(
    "--log-level", type=click.Choice(LEVELS), default="info", show_default=True,
    help="What is logged to stderr.",
)  # fmt: skip
@store_option
def worker_command(
    modules: tuple[str, ...], processes: int, burst: bool, url: str, log_level: str, **options: Any
) -> int:
    """Run the workflows and activities that the modules define.

    MODULE is the name of a module (orders; the current directory is on the path) or a file
    (shop/orders.py). SIGTERM and SIGINT stop gracefully: nothing more is claimed, what runs
    may finish, the rest is left to other workers; a second signal stops at once.
    """
    from durable.loading import load_module

    if burst and processes > 1:
        raise click.UsageError("--burst works with one process: leave --processes out")
    loaded = [load_module(name) for name in modules]
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    with _stoppable():
        if processes > 1:
            return _supervise(modules, loaded, processes, url, log_level, options)
        return _work(loaded, url, burst, options)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Until the worker has its own handlers, a signal ends this process at once and well:
    there is nothing yet to give back."""
    before = {number: signal.signal(number, _leave) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _work(loaded: list[ModuleType], url: str, burst: bool, options: dict[str, Any]) -> int:
    from durable.supervisor import stop_with_parent
    from durable.worker import Worker

    with client_at(url, create=True) as client:
        worker = Worker(
            client.store,
            loaded,
            queues=options["queues"],
            activity_slots=options["threads"],
            executor=options["executor"],
            lease=options["lease"],
            grace=options["grace"],
            step_timeout=options["step_timeout"],
            unknown_after=options["unknown_after"],
            max_history=options["max_history"],
            max_pending=options["max_pending"],
            max_step_bytes=options["max_step_bytes"],
            retain=retained(options["retain"]),
            build=options["build"],
            burst=burst,
        )
        say(_banner(worker.registry, client.store.url, options))
        stop_with_parent()
        return worker.run()


def _supervise(
    modules: tuple[str, ...], loaded: list[ModuleType], processes: int, url: str, log_level: str,
    options: dict[str, Any],
) -> int:  # fmt: skip
    """Run children of this command; the store's URL, which may hold a password, goes to them
    in the environment and not on a command line that everybody can read."""
    from durable.registry import Registry
    from durable.supervisor import supervise

    with client_at(url, create=True) as client:
        options["processes"] = processes
        say(_banner(Registry(loaded), client.store.url, options))
    os.environ["DURABLE_STORE"] = url
    argv = ["worker", "--processes=1", f"--log-level={log_level}"]
    argv += [f"--queue={name}" for name in options["queues"]]
    argv += [f"--retain={name}={age}" for name, age in retained(options["retain"]).items()]
    for name in PASSED_ON:
        if options[name] is not None:
            argv.append(f"--{name.replace('_', '-')}={options[name]}")
    return supervise([*argv, "--", *modules], processes, options["grace"])


def _banner(registry: Any, url: str, options: dict[str, Any]) -> str:
    from durable import __version__

    name = f"{socket.gethostname()}-{os.getpid()}"
    known = f"{counted(len(registry.workflows), 'workflow')}, "
    known += counted(len(registry.activities), "activity", "activities")
    one, many = SLOTS[options["executor"]]
    slots = counted(options["threads"], one, many)
    if options.get("processes"):
        slots = f"{options['processes']} processes with {slots} each"
    return (
        f"durable {__version__} worker {name} on {url}: "
        f"queues {', '.join(options['queues'])}; {known}; {slots}"
    )
