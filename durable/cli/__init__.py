"""The command ``durable``: one file a group of commands, loaded when it is used.

Data goes to stdout, everything else to stderr.  Exit codes: 0 done; 1 it failed; 2 wrong
usage, or a module that cannot be imported; 3 the store cannot be reached, or its schema is
too old or too new; 4 there is no such instance; 5 timed out.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper


def main() -> None:
    """Run the command line of this process; ends with `SystemExit`."""
    from durable.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app.main(prog_name="durable")
