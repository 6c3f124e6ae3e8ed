"""``durable bench``: what this machine and store can do, and where the ceiling is.

Rules
-----
* Every scenario has a fresh store of its own, of the kind and at the place of ``--store``.
* The engine is measured as users run it; nothing is queried while the clock runs.
* The ceiling is the very calls of the measured run, written again by a bare loop.
"""
