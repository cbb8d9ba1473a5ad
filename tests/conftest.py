"""The tests run the commands of the environment they are started from, whether or not that is the one on the PATH."""

import os
import sys
from pathlib import Path

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
