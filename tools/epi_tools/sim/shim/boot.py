"""First script of the simulated board: run `main.py` as a board does, and leave to the REPL when it ends.

A traceback goes to the serial port, where a board shows it, and to the simulator's standard error, where a person looks.
"""

# mypy: ignore-errors

import sys

try:
    import main  # noqa: F401
except Exception as error:
    sys.print_exception(error, sys.stderr)
    raise
