"""Executors run attempts of activities: in threads, or in child processes.

An executor has ``submit(attempt)``, ``overrun(attempt)`` (it took too long: its late outcome
is of no use), ``grow()`` (called now and then by the loop), ``occupied`` (slots that
overrunning attempts still hold) and ``stop()``.  Outcomes go to the function that it was
made with, from any thread.
"""

from durable.executors.processes import ProcessExecutor
from durable.executors.threads import ThreadExecutor

__all__ = ["ProcessExecutor", "ThreadExecutor"]
