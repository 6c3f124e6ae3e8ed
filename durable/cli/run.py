"""``durable run``: a worker and a client in one process, until an instance ends."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import time
from typing import TYPE_CHECKING, Any

import click

from durable.cli.arguments import json_values, named_values
from durable.cli.connect import client_at
from durable.cli.errors import Failed, say
from durable.cli.options import DURATION, output_option, parameter_options, store_option
from durable.cli.output import print_value
from durable.cli.text import counted
from durable.errors import InstanceNotFound, ResultTimeout, UsageError
from durable.records import refused

if TYPE_CHECKING:
    from types import FrameType, ModuleType

    from durable.cli.progress import Progress
    from durable.cli.targets import Flow
    from durable.client import Client
    from durable.client.handle import Handle
    from durable.orchestrator import Orchestrator
    from durable.registry import Registry
    from durable.worker import Worker

LOOK_INTERVAL = 0.5
"""Seconds between looks at the store, should somebody else end the instance."""
LAST_GRACE = 5.0
"""Seconds that activities nobody waits for any more may take after the instance's end."""


@click.command("run")
@click.argument("target", metavar="MODULE[:WORKFLOW]")
@parameter_options
@click.option("--id", help="The instance's id. With the id of one that is there: go on.")
@store_option
@click.option("--timeout", type=DURATION, help="Stop waiting after this time (exit code 5).")
@click.option(
    "-t", "--threads", type=click.IntRange(1), default=16, show_default=True,
    help="Activities at one time.",
)  # fmt: skip
@click.option(
    "--grace", type=DURATION, default="30s", show_default=True,
    help="How long running activities may take to finish when this is stopped.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Do not show what happens.")
@output_option
def run_command(
    target: str,
    values: tuple[str, ...],
    params: tuple[str, ...],
    id: str | None,
    url: str,
    timeout: float | None,
    output: str,
    **options: Any,
) -> None:
    """Run a workflow in this process until it ends, and print its result as JSON.

    MODULE is the name of a module (orders) or a file (shop/orders.py); WORKFLOW may be left
    out if there is only one. Each ARG is JSON: '"o-1"' is a text, 500 a number. After a
    crash, the same command with the same --id goes on where it was.

    \b
    durable run orders:process_order '"o-1"' 500 --id order-1
    """
    from durable.cli.targets import all_queues, check_arguments, find_workflow
    from durable.loading import load_module, split_target
    from durable.registry import Registry

    args, kwargs = json_values(values), named_values(params)
    module_name, name = split_target(target)
    module = load_module(module_name)
    registry = Registry([module])
    flow = find_workflow(module, registry, name)
    check_arguments(flow, args, kwargs)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    with client_at(url, create=True, alone=True) as client:
        handle = _start(client, flow, registry, args, kwargs, id)
        if not handle.status().finished:
            _Run(client, handle, module, options).until_it_ends(timeout, all_queues(registry))
        # By name, so that the result is plain data, whatever class the code makes of it.
        print_value(client.get(handle.id).result(timeout=0), output)


def _start(
    client: Client, flow: Flow, registry: Registry, args: list[Any], kwargs: dict[str, Any],
    id: str | None,
) -> Handle[Any]:  # fmt: skip
    """Start the instance, or find the one that is there."""
    from durable.cli.targets import pinned_version

    _check_existing(client, flow, args, kwargs, id)
    version = pinned_version(flow, registry)
    configured = flow.options(id=id, if_exists="use", version=version)
    handle = client.start(configured, *args, **kwargs)
    if id is None:
        say(f"instance {handle.id}: `--id {handle.id}` goes on with it")
    if handle.row().workflow != flow.name:  # started just now by somebody else
        _check_existing(client, flow, args, kwargs, id)
    return handle


def _check_existing(
    client: Client, flow: Flow, args: list[Any], kwargs: dict[str, Any], id: str | None
) -> None:
    """Say what an id that is there means, and refuse that of another workflow."""
    if id is None:
        return
    try:
        found = client.get(id).describe()
    except InstanceNotFound:
        return
    if found["workflow"] != flow.name:
        raise UsageError(
            f"instance {id!r} is one of {found['workflow']}, not of {flow.name}: give another --id"
        )
    own = found["run"] == 1  # a later run may have been given others
    if own and (list(found["args"]), found["kwargs"]) != (args, kwargs):
        say(f"note: {id} was started with other arguments, and keeps them")
    if found["status"].finished:
        say(f"{id} has ended already: {found['status']}")
    else:
        so_far = counted(found["history_length"], "event")
        say(f"{id} is {found['status']} and goes on, {so_far} so far")


class _Run:
    """A worker in this process, and the wait for one instance."""

    def __init__(
        self, client: Client, handle: Handle[Any], module: ModuleType, options: dict[str, Any]
    ) -> None:
        self.client = client
        self.handle = handle
        self.module = module
        self.grace: float = options["grace"]
        self.threads: int = options["threads"]
        self.quiet: bool = options["quiet"]
        self.stopped_by = 0
        self._said: str = ""
        self._said_waiting_at = 0.0

    def until_it_ends(self, timeout: float | None, queues: set[str]) -> None:
        """Run the worker. Raises `ResultTimeout`, or `Failed` when stopped by a signal."""
        from durable.cli.progress import Progress
        from durable.orchestrator import Orchestrator

        progress = Progress(self.handle.id, self.client.codec.decode, self.quiet)
        progress.learn(self.handle.history())
        own = self.handle.row().queue
        here = Orchestrator(
            self.client.store,
            [self.module],
            queues=sorted(queues | {own}),
            activity_slots=self.threads,
            on_event=progress,
        )
        before = {n: signal.signal(n, self._on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            here.worker.start()
            self._wait(progress, timeout, here.worker)
        finally:
            self._stop(here)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, here: Orchestrator) -> None:
        ended = self.handle.status().finished
        here.worker.stop(min(self.grace, LAST_GRACE) if ended else self.grace)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.stopped_by:
            os._exit(128 + number)
        self.stopped_by = number

    def _wait(self, progress: Progress, timeout: float | None, worker: Worker) -> None:
        end = None if timeout is None else time.monotonic() + timeout
        look_at = time.monotonic() + LOOK_INTERVAL
        while True:
            if progress.ended.wait(0.05):
                if self.handle.status().finished:
                    return
                progress.ended.clear()  # only a run has ended
            now = time.monotonic()
            if self.stopped_by:
                say("stopping: what runs may finish; a second signal stops at once")
                raise Failed("stopped; run the same command again to go on" + self._id_hint())
            if end is not None and now >= end:
                status = self.handle.status()
                if not status.finished:
                    raise ResultTimeout(
                        f"{self.handle.id} is {status}; it did not end within {timeout:g} s"
                    )
            if now >= look_at:
                look_at = now + LOOK_INTERVAL
                if self._look(progress, worker.build):
                    return
            if not worker.running:
                raise Failed("the worker gave up; run the same command again" + self._id_hint())

    def _id_hint(self) -> str:
        return f" (--id {shlex.quote(self.handle.id)})"

    def _look(self, progress: Progress, build: str) -> bool:
        """See whether it has ended, or this build of the code cannot go on with it; gives
        True at the end."""
        row = self.handle.row()
        if row.status.finished:
            return True
        if row.status == "blocked":
            if refused(self.handle.describe()["blocked_by"], build):
                raise Failed(
                    f"{row.id} is blocked: {row.reason}",
                    "when the code is right again, the same command goes on" + self._id_hint(),
                )
            self._note_once(progress, f"blocked: {row.reason}")
        elif row.status == "paused":
            self._note_once(progress, f"paused; `durable resume {shlex.quote(row.id)}` goes on")
        elif progress.waits_long() and self._said_waiting_at != progress.last:
            self._said_waiting_at = progress.last
            progress.note(f"waiting; `durable signal {shlex.quote(row.id)} NAME` sends a signal")
        return False

    def _note_once(self, progress: Progress, text: str) -> None:
        if self._said != text:
            progress.note(text)
        self._said = text
