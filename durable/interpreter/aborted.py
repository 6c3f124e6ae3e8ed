"""How a step is stopped that must not go on."""

from __future__ import annotations


class StepAborted(BaseException):
    """A step that must not go on: it used up its budget of yields, or its time.

    A `BaseException`, so that workflow code does not swallow it by accident.

    why: in a few words. line: at which it was stopped, and seq: of the event that would have
    come next; both only as far as they are known.
    """

    def __init__(self, why: str = "", line: str = "", seq: int | None = None) -> None:
        super().__init__(f"{why}, at {line}" if line else why)
        self.why = why
        self.line = line
        self.seq = seq


class StepInterrupted(StepAborted):
    """Nothing is wrong with the step: whoever runs it does not want to go on."""
