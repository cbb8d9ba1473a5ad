"""The cases import the firmware and their bench by plain names, as they do on the board."""

import sys
from pathlib import Path

HERE = Path(__file__).parent

for folder in (HERE, HERE.parents[1] / "firmware"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
