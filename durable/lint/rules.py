"""All rules, by their codes.

Codes are for ever: they stand in comments and settings of users.  100 is about files, 101
to 119 are about what differs in a replay, 121 to 129 about yields, 131 to 139 about cancelling, 141
to 149 about form.
"""

from __future__ import annotations

from durable.lint import cleanup, effects, shape, state, swallow, yields
from durable.lint.rule import Rule

RULES: dict[str, Rule] = {
    rule.code: rule
    for rule in (
        shape.Unreadable(),
        effects.Clock(),
        effects.Randomness(),
        effects.Uuid(),
        effects.Io(),
        effects.Output(),
        effects.Sleep(),
        effects.Threads(),
        state.Environment(),
        state.OutsideState(),
        state.SetOrder(),
        effects.Identity(),
        yields.DirectCall(),
        yields.ForgottenYield(),
        yields.YieldInComprehension(),
        cleanup.CleanupWithoutShield(),
        yields.ReturnedCommand(),
        yields.NotDelegated(),
        swallow.SwallowedCancel(),
        shape.AsyncWorkflow(),
        shape.MutableDefault(),
        shape.EndlessLoop(),
    )
}

UNREADABLE = shape.Unreadable.code  # found where files are read, and not in workflow code
