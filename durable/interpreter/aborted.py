"""How a step is stopped that must not go on."""

from __future__ import annotations


class StepAborted(BaseException):
    """A step that must not go on: it used up its budget of yields, or its time.

    A `BaseException`, so that workflow code does not swallow it by accident.
    """


class StepInterrupted(StepAborted):
    """Nothing is wrong with the step: whoever runs it does not want to go on."""
