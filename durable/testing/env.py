"""`WorkflowEnv`: a workflow in a test, with virtual time and mocks."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import ModuleType, TracebackType
from typing import Any

from durable.client import Handle
from durable.codec import Codec
from durable.definitions import ConfiguredWorkflow, WorkflowDefinition
from durable.errors import KitError, MockError, StuckError, WorkflowError
from durable.events import Event
from durable.model import Instance, Status, micros, moment
from durable.moments import checked_moment
from durable.propagation import Propagators
from durable.registry import Registry
from durable.retry import Duration
from durable.starting import flow_of
from durable.testing.arguments import (
    checked_callable,
    checked_flag,
    checked_flow,
    checked_names,
    checked_turns,
    same_call,
    shown_function,
    span,
)
from durable.testing.chooser import Chooser
from durable.testing.doubles import Answers, mocked_activity, mocked_workflow
from durable.testing.driver import MAX_TURNS, Driver
from durable.testing.handles import WaitingClient
from durable.testing.listeners import Listeners
from durable.testing.mocks import UNSET, Call, Mock, Mocks, definition_of, name_of, shown_call
from durable.testing.replays import Recorded
from durable.testing.stuck import explained

__all__ = ["DEFAULT_START", "WorkflowEnv"]

DEFAULT_START = datetime(2025, 1, 1, tzinfo=UTC)
"""When the clock of a test begins, if it does not say."""


class WorkflowEnv:
    """Runs a workflow in this thread, on a store in memory, with a clock that moves only when
    everything waits.

    It is the runner and interpreter of production that run.  Activities that are not mocked are
    called as they are.  After each step the history is replayed: a workflow that decides
    otherwise the second time fails its test.

    flow: the workflow, or with options (``order.options(id="o-1")``). activities, workflows:
    what else may run: activities, objects that have some, children. modules: all that they
    have. start_at: when the clock begins, an aware datetime. strict: activities that are not
    mocked are refused. guards: clocks, chance and I/O in workflow code are errors. allow: what
    they let pass: calls as errors name them (``"time.time"``), and modules that may call
    anything. codec, propagators: as of `Worker`. max_turns: how much may happen in one call of
    a test before it is taken for something that never ends. replays: False while you look for a
    mistake with a debugger, which would stop in each replay as well. chooser: decides on what may
    happen, and signals_twice: whether that includes signals that are sent again (see `explore`).

    >>> env = WorkflowEnv(process_order, activities=[ship])
    >>> env.mock(charge, returns="r-1")
    >>> env.at(hours=1, do=lambda: env.signal("refund"))
    >>> assert env.run("o-1", 500) == "refunded"
    """

    def __init__(
        self,
        flow: Any = None,
        *,
        activities: Iterable[Any] = (),
        workflows: Iterable[Any] = (),
        modules: Iterable[ModuleType] = (),
        start_at: datetime = DEFAULT_START,
        strict: bool = False,
        guards: bool = True,
        allow: Iterable[str] = (),
        codec: Codec | None = None,
        propagators: Iterable[Any] = (),
        max_turns: int = MAX_TURNS,
        replays: bool = True,
        chooser: Chooser | None = None,
        signals_twice: bool = False,
    ) -> None:
        self._flow = flow
        self._codec = codec or Codec()
        self._registry = Registry(modules, workflows, activities)
        definition = None if flow is None else checked_flow(flow)
        if definition is not None:
            self._registry.add(definition)
        self._propagators = Propagators(propagators)
        self._mocks = Mocks()
        self._mocked_flows: set[str] = set()
        self._listeners = Listeners()
        self._began = micros(checked_moment(start_at, "start_at"))
        self._driver = Driver(
            self._registry, self._codec, self._propagators, self._began,
            mocks=self._mocks, strict=checked_flag(strict, "strict"), began=self._note_child,
            guards=checked_flag(guards, "guards"), allow=checked_names(allow, "allow"),
            chooser=chooser or Chooser(),
            signals_twice=checked_flag(signals_twice, "signals_twice"),
            max_turns=checked_turns(max_turns), checks=checked_flag(replays, "replays"),
            where=lambda id: str(self.client.get(id).where()),
        )  # fmt: skip
        self._answers = Answers(self._mocks, self._driver.raised, self._codec)
        self.client = WaitingClient(
            self._driver.store, self._wait, codec=self._codec, propagators=propagators
        )
        self._show_code()
        self._handle: Handle[Any] | None = None
        self._inside = False
        self._started = 0

    def __enter__(self) -> WorkflowEnv:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        if error is None:
            self.check_mocks()
        self.close()

    def close(self) -> None:
        """Drop what is left: nothing of it goes on. Its ``finally`` blocks run up to their first
        command, as when a worker drops an instance from memory."""
        self._driver.close()

    def __del__(self) -> None:
        """Nobody need close it: a generator that Python drops by itself would run its clean-up."""
        if hasattr(self, "_driver"):
            self.close()

    # -- before it runs -----------------------------------------------------------------

    def mock(
        self,
        target: Any,
        *,
        returns: Any = None,
        raises: BaseException | type[BaseException] | None = None,
        side_effect: Any = UNSET,
        times: int | None = None,
        takes: Duration = 0,
    ) -> Mock:
        """Answer instead of an activity or a child workflow.

        target: the activity or workflow, or its name. returns: what each call gives. raises:
        an exception that each raises. side_effect: a function that is called instead, also an
        ``async def``; an exception; or a list of answers, one for each call, where exceptions
        are raised. times: how many calls it answers, and must answer; the next mock of the same
        target follows, then the one without ``times``, then the real thing. takes: how long
        each takes, by the virtual clock: seconds or a timedelta.

        A second mock without ``times`` takes the place of the first.
        Raises `MockError` if these do not go together. `run` raises it for a mock that was
        not called, or not as often as ``times`` says.
        """
        target = definition_of(target)
        made = Mock(
            name_of(target), returns=returns, raises=raises, side_effect=side_effect,
            times=times, takes=takes,
        )  # fmt: skip
        self._mocks.add(made)
        is_flow = isinstance(target, WorkflowDefinition) or made.name in self._registry.workflows
        if not is_flow and made.name not in self._registry.activities:
            self._registry.activities[made.name] = mocked_activity(target)
        if (is_flow or isinstance(target, str)) and made.name not in self._mocked_flows:
            self._mock_workflow(made.name, target)
        self._driver.known()
        self._show_code()
        return made

    def _show_code(self) -> None:
        """Let `Handle.where` see what runs here; the client adds to it what it starts."""
        flows = self._registry.workflows
        self.client.known.workflows = {name: dict(known) for name, known in flows.items()}

    def _mock_workflow(self, name: str, target: Any) -> None:
        self._mocked_flows.add(name)
        real = self._registry.workflows.get(name, {})
        given = target if isinstance(target, WorkflowDefinition) else None
        like: dict[int, Any] = dict(real) or {1 if given is None else given.version: given}
        self._registry.workflows[name] = {
            version: mocked_workflow(name, version, one, real.get(version), self._answers)
            for version, one in like.items()
        }

    def at(
        self,
        when: datetime | Duration | None = None,
        *,
        do: Callable[[], object],
        **duration: float,
    ) -> None:
        """Call something at a moment of the virtual clock.

        when: an aware datetime; or how long after the start of the test, in seconds or as a
        timedelta, or in the words that `timedelta` takes: ``env.at(hours=1, do=…)``.
        """
        if isinstance(when, datetime):
            if duration:
                raise TypeError("env.at takes a datetime or a duration, not both")
            at = micros(checked_moment(when, "env.at"))
        else:
            at = self._began + span("env.at", when, duration)
        self._do_at(at, do, "env.at")

    def after(
        self, wait: Duration | None = None, *, do: Callable[[], object], **duration: float
    ) -> None:
        """Call something so long from now: ``env.after(minutes=5, do=…)``."""
        self._do_at(self._driver.now + span("env.after", wait, duration), do, "env.after")

    def _do_at(self, at: int, do: Callable[[], object], verb: str) -> None:
        checked_callable(do, f"{verb}(do=)")
        self._driver.agenda.add(at, f"a call of {shown_function(do)}", partial(self._outside, do))

    def on_child(self, target: Any, do: Callable[[Handle[Any]], object]) -> None:
        """Call something with the handle of each child of this workflow, when it has begun.

        `run` raises `MockError` if there was no such child."""
        self._listeners.add(name_of(target), checked_callable(do, "env.on_child"))

    # -- running ------------------------------------------------------------------------

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Start the workflow, run it to its end, and give its result.

        Raises what `Handle.result` raises; `StuckError` if it waits for what nothing will
        bring; `MockError` for mocks that were not used; and an `AssertionError` of its code
        as it is.
        """
        __tracebackhide__ = True
        self.start(*args, **kwargs)
        result = self._result(self.handle)
        self.check_mocks()
        return result

    def start(self, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Start the workflow, and run it until it waits."""
        __tracebackhide__ = True
        if self._flow is None:
            raise KitError("WorkflowEnv(flow): which workflow is to be run?")
        self._handle = self.client.start(self._named(), *args, **kwargs)
        self.settle()
        return self._handle

    def _named(self) -> Any:
        """The workflow under an id that is the same in each run of the test."""
        name, options, definition = flow_of(self._flow)
        if options.id is not None:
            return self._flow
        self._started += 1
        options = replace(options, id=f"{name}-{self._started}")
        if definition is None:
            raise KitError(f"WorkflowEnv takes the workflow {name} itself, not its name")
        newest = max(self._registry.workflows[name])
        if definition.version != newest:
            raise KitError(
                f"a new {name} begins with the newest version that is known here, {newest}, and"
                f" not with {definition.version}: leave the other out"
            )
        return ConfiguredWorkflow(definition, options)

    def result(self, handle: Handle[Any] | None = None) -> Any:
        """Run to the end of the workflow (or of another instance), and give its result.

        Raises as `run` does; `MockError` if nothing is left that could use a mock.
        """
        __tracebackhide__ = True
        result = self._result(handle or self.handle)
        if not self.client.count(status=[one for one in Status if not one.finished]):
            self.check_mocks()
        return result

    def run_to_end(self, handle: Handle[Any] | None = None) -> None:
        """Run to the end of the workflow (or of another instance), whatever that is.

        Raises `StuckError` if it waits for what nothing will bring."""
        __tracebackhide__ = True
        self._wait(handle or self.handle, None)

    def _wait(self, handle: Handle[Any], timeout: float | None) -> None:
        """Run to the end of an instance, for so many seconds of virtual time at most."""
        __tracebackhide__ = True
        if handle.status().finished or (self._inside and timeout == 0):
            return
        self._not_inside("to wait for a result")
        end = None if timeout is None else self._driver.now + span("timeout", timeout, {})
        self._driver.begin()
        self._settle()
        while not handle.status().finished:
            if not self._driver.advance(end):
                if end is None:
                    raise StuckError(explained(self.client, self._driver, handle.id))
                return
            self._settle()

    def _result(self, handle: Handle[Any]) -> Any:
        __tracebackhide__ = True
        self.run_to_end(handle)
        try:
            return handle.result(timeout=0)
        except WorkflowError as error:
            failure = error
        # It may be why: a name that is wrong leaves the real thing to be called.
        for complaint in self._complaints():
            failure.add_note(complaint)
        raise failure.with_traceback(None)  # how the client came to it tells nothing

    def advance(self, by: Duration | None = None, **duration: float) -> None:
        """Let so much time pass: ``env.advance(hours=1)``; all that falls due is done."""
        __tracebackhide__ = True
        end = self._driver.now + span("env.advance", by, duration)
        self._not_inside("env.advance")
        self._driver.begin()
        self._settle()
        while self._driver.advance(end):
            self._settle()

    def settle(self) -> None:
        """Do all that is due now; calls from within are for nothing."""
        __tracebackhide__ = True
        if not self._inside:
            self._driver.begin()
            self._settle()

    def _settle(self) -> None:
        __tracebackhide__ = True
        self._inside = True
        try:
            self._driver.settle()
        finally:
            self._inside = False

    def _not_inside(self, verb: str) -> None:
        """Time moves when everything waits: not while something is done."""
        __tracebackhide__ = True
        if self._inside:
            raise KitError(f"{verb} in a callback, an activity or a mock: time cannot move there")

    # -- from outside -------------------------------------------------------------------

    def signal(self, name: str, value: Any = None) -> None:
        """As `Handle.signal`."""
        self._outside(lambda: self.handle.signal(name, value))

    def cancel(self, reason: str = "") -> None:
        """As `Handle.cancel`."""
        self._outside(lambda: self.handle.cancel(reason))

    def terminate(self, reason: str = "") -> None:
        """As `Handle.terminate`."""
        self._outside(lambda: self.handle.terminate(reason))

    def complete(self, token: str, value: Any = None) -> None:
        """As `Client.complete`."""
        self._outside(lambda: self.client.complete(token, value))

    def fail(self, token: str, error: BaseException | str) -> None:
        """As `Client.fail`."""
        self._outside(lambda: self.client.fail(token, error))

    def _outside(self, do: Callable[[], object]) -> None:
        __tracebackhide__ = True
        do()
        self.settle()

    # -- looking ------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The virtual clock, in UTC."""
        return moment(self._driver.now)

    @property
    def handle(self) -> Handle[Any]:
        """Of the workflow that was started last."""
        if self._handle is None:
            raise KitError("nothing was started: env.run(…) or env.start(…) first")
        return self._handle

    @property
    def history(self) -> list[Event]:
        """The events of the workflow."""
        return self.handle.history()

    @property
    def status(self) -> Status:
        return self.handle.status()

    def calls(self, target: Any) -> list[Call]:
        """The calls of an activity, or the children of a workflow, in their order; those that
        have not ended yet, or never will, come last."""
        name = name_of(target)
        return [*self._mocks.calls(name), *self._driver.under_way(name)]

    def check_mocks(self) -> None:
        """Raise `MockError` for mocks that were not called, or not as often as they say; `run`
        does it, and the end of a ``with`` block."""
        __tracebackhide__ = True
        if complaints := self._complaints():
            raise MockError("; ".join(complaints) + f" {self._mocks.called()}")

    def _complaints(self) -> list[str]:
        known = [*self._registry.activities, *self._registry.workflows]
        return [*self._mocks.complaints(known), *self._listeners.complaints(self._mocks, known)]

    def unused(self) -> set[str]:
        """What was made and never called: mocks, and listeners for children."""
        return {*self._mocks.unused(), *self._listeners.unused()}

    def assert_called(self, target: Any, *args: Any, **kwargs: Any) -> None:
        """Fail unless it was called with these arguments, by place or by name, and say how it
        was called."""
        __tracebackhide__ = True
        name = name_of(target)
        definition = self._registry.activities.get(name) or self._registry.workflow(name, None)
        wanted = Call(args, kwargs)
        calls = self.calls(target)
        if not any(same_call(wanted, call, definition) for call in calls):
            shown = "\n".join(f"  {shown_call(name, call)}" for call in calls) or "  not at all"
            raise AssertionError(f"no call {shown_call(name, wanted)}; it was called:\n{shown}")

    def assert_events(self, *kinds: str) -> None:
        """Fail unless the history has events of these kinds, and show the difference."""
        __tracebackhide__ = True
        found = [type(event).__name__ for event in self.history]
        if found != list(kinds):
            lines = "\n".join(difflib.ndiff(kinds, found))
            raise AssertionError(f"the history is another one (- expected, + found):\n{lines}")

    # -- for other replays ---------------------------------------------------------------

    @property
    def replayed(self) -> list[Recorded]:
        """What has been replayed in the end: each run, with its instance and its code."""
        return list(self._driver.replays.last.values())

    @property
    def carries(self) -> bool:
        """Whether there are propagators."""
        return bool(self._propagators)

    # -- for the driver -----------------------------------------------------------------

    def _note_child(self, instance: Instance) -> None:
        if instance.parent is None:
            return
        definition = self._registry.workflow(instance.workflow, None)
        assert definition is not None
        args, kwargs = definition.unpack_call(self._codec, instance.args, instance.kwargs)
        call = Call(tuple(args), kwargs, self.now, instance=instance.id)
        self._mocks.record(instance.workflow, call)
        for do in self._listeners.of(instance.workflow):
            told = partial(do, self.client.get(instance.id))
            self._do_at(self._driver.now, told, "env.on_child")
