"""`patched`: which runs take the new code of a change.

Rules
-----
* The first call of a run decides for all of it.
* Live, the answer is yes and a marker is recorded.  In a replay it is yes if the marker is
  recorded *in this step*: what comes later must not change what came before.
* A marker has no number, and whoever does not ask for it passes over it.  So an old history
  keeps its numbers, and the call can be deleted from the code without a phase in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from durable.events import PatchMarked

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter


def is_patched(it: Interpreter, change_id: str) -> bool:
    """Whether the new code is to run."""
    known = it.patches.get(change_id)
    if known is None:
        known = it.patches[change_id] = _decide(it, change_id)
    return known


def _decide(it: Interpreter, change_id: str) -> bool:
    if it.replaying:
        step, matched = it.recorded_step()
        for place, event in enumerate(step):
            if isinstance(event, PatchMarked) and event.change_id == change_id:
                between = step[matched : place + 1]
                if all(isinstance(other, PatchMarked) for other in between):
                    it.pass_over(len(between))  # as long as the history was when it was made
                return True
        return False
    it.emit(PatchMarked(it.seq, it.at, change_id))
    return True
