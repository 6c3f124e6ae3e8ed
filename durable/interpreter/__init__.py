"""The pure interpreter: (history, next event, generator) → decision.

* `core` applies one event at a time, runs every coroutine that became ready until all of
  them wait, and collects the decision; replay does the same and compares.
* `handlers` is the table from event type to what it does; `table` the one from command type
  to what waits for it: `waits` (timers, side effects, joins), `signals`, `remote` (activities
  and children), `promises`, `channels`, `predicates`, `combinators` (race, gather,
  with_timeout).
* `coroutine` drives one generator: resuming, ending, closing, its line; `scopes` says which
  of them a cancel reaches.
* `decision` is what it answers, `ending` the last of it; `mismatch` is what it says of code
  that changed, `patches` how code may change.
* `waiting` says what is waited for, to whoever looks.
* `derive` makes what must be the same in replay: uuids, random numbers, ids of children.

No I/O, no clocks, no threads: times, ids and values come in, a decision goes out.
"""

from durable.interpreter.aborted import StepAborted, StepInterrupted
from durable.interpreter.core import Interpreter
from durable.interpreter.coroutine import Coroutine
from durable.interpreter.decision import (
    ChildCancel,
    Decision,
    Ending,
    ScheduledTask,
    SentSignal,
    StartedChild,
)
from durable.interpreter.forgotten import not_yielded
from durable.interpreter.limits import (
    DEFAULT_LIMITS,
    MAX_HISTORY,
    MAX_PENDING,
    MAX_STEP_BYTES,
    Limits,
)
from durable.interpreter.table import WAITS
from durable.interpreter.waiting import Waiting

__all__ = [
    "DEFAULT_LIMITS",
    "MAX_HISTORY",
    "MAX_PENDING",
    "MAX_STEP_BYTES",
    "WAITS",
    "ChildCancel",
    "Coroutine",
    "Decision",
    "Ending",
    "Interpreter",
    "Limits",
    "ScheduledTask",
    "SentSignal",
    "StartedChild",
    "StepAborted",
    "StepInterrupted",
    "Waiting",
    "not_yielded",
]
