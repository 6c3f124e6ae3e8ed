"""One run of a workflow under `explore`, and what breaks it.

Rules
-----
* What breaks a run: an error of the kit (stuck, blocked, decides otherwise in replay), a failed
  assertion, an error in a call from outside or in an invariant, or one that returns False.
* That the workflow fails or is cancelled does not break it, nor that a call from outside comes
  when its instance has ended.
* What ends the test or the program does (`KeyboardInterrupt`, a skip): it is raised as it is.  So
  is an error of ``setup``, which is the test's own.
"""

from __future__ import annotations

import random
import sys
import unittest
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from durable.errors import KitError, MockError
from durable.testing.chooser import Chooser
from durable.testing.env import WorkflowEnv

__all__ = ["Invariant", "Run", "Trial"]

Invariant = Callable[[WorkflowEnv], object]

ENDS = (KeyboardInterrupt, SystemExit, unittest.SkipTest)
ENDS_BY_NAME = {
    "_pytest.outcomes": ("Skipped", "Exit", "XFailed"),
    "hypothesis.errors": ("StopTest", "UnsatisfiedAssumption"),
}
"""Of modules that are not imported for this: the test may have no use for them."""


@dataclass(frozen=True)
class Run:
    """How a run ended: with a status, or an error."""

    status: str = ""
    error: BaseException | None = None


@dataclass(frozen=True)
class Trial:
    """What is run again and again. options: of `WorkflowEnv`."""

    flow: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    setup: Callable[[WorkflowEnv], object] | None
    invariants: Sequence[Invariant]
    options: Mapping[str, Any]
    unused: list[set[str]] = field(default_factory=list)
    """Of each run that was not broken the mocks that it has not called."""

    def check_mocks(self, runs: int) -> None:
        """Raise `MockError` for mocks that no run has called: a crash may have kept one from
        being called in this run or that."""
        never = set.intersection(*self.unused) if self.unused else ()
        if never:
            raise MockError(f"in none of {runs} runs: {'; '.join(sorted(never))}")

    def run(self, chooser: Chooser) -> Run:
        """Run it from the start, as somebody decides."""
        before = random.getstate()
        random.seed(0)  # activities may ask for chance: the same schedule gives the same run
        env = WorkflowEnv(self.flow, chooser=chooser, **self.options)
        try:
            if self.setup is not None:
                self.setup(env)
            return self._ended(env)
        finally:
            env.close()
            random.setstate(before)

    def _ended(self, env: WorkflowEnv) -> Run:
        try:
            self._to_its_end(env)
            status = str(env.status)
            self.unused.append(env.unused())
            for invariant in self.invariants:
                if invariant(env) is False:
                    name = getattr(invariant, "__name__", repr(invariant))
                    raise KitError(f"the invariant {name} is not kept")
            return Run(status)
        except BaseException as error:  # a failure of pytest is one of these
            if _ends_the_test(error):
                raise
            return Run(error=error)

    def _to_its_end(self, env: WorkflowEnv) -> None:
        env.start(*self.args, **self.kwargs)
        env.run_to_end()
        env.settle()


def _ends_the_test(error: BaseException) -> bool:
    """Whether it is not about the workflow."""
    kinds = [
        getattr(sys.modules[module], name)
        for module, names in ENDS_BY_NAME.items()
        for name in names
        if module in sys.modules
    ]
    return isinstance(error, (*ENDS, *kinds))
