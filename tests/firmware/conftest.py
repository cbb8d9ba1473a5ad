"""The firmware and the bench of tests/board are imported by plain names, as on the board."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]

for folder in (TESTS / "board", TESTS / "firmware", TESTS.parent / "firmware"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
