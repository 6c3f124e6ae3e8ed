"""The pure interpreter: (history, next event, generator) → decision.

* `core` applies one event at a time, runs every coroutine that became ready until all of
  them wait, and collects the decision; replay does the same and compares.
* `coroutine` drives one generator: resuming, ending, closing, its line.
* `waits` is the table from command type to small handler: leaves; `combinators` has the
  rest of it, race and gather.
* `decision` is what it answers; `mismatch` is what it says of code that changed.
* `derive` makes what must be the same in replay: uuids and random numbers.

No I/O, no clocks, no threads: times, ids and values come in, a decision goes out.
"""

from durable.interpreter.core import Interpreter
from durable.interpreter.coroutine import StepAborted
from durable.interpreter.decision import Decision, Ending, ScheduledTask, SentSignal
from durable.interpreter.table import WAITS

__all__ = [
    "WAITS",
    "Decision",
    "Ending",
    "Interpreter",
    "ScheduledTask",
    "SentSignal",
    "StepAborted",
]
