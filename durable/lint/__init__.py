"""What is wrong with workflow code, from its text alone: ``durable lint``, and a flake8 plugin.

It reads code and never runs it, and knows the library by its names only.

=============  =======================================================================
`names`        scopes and imports: what a name means
`program`      which functions are workflow code, what becomes of a command
`effects` …    the rules, a file a group: `state`, `yields`, `cleanup`, `swallow`, `shape`
`checking`     text in, findings out; `room` is for text that is nested deeply
=============  =======================================================================
"""

from __future__ import annotations
