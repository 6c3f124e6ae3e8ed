"""``python -m durable`` is the command ``durable``."""

import sys

from durable.cli import main

if __name__ == "__main__":
    sys.exit(main())
