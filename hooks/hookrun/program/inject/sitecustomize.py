"""Read by the program's Python at its start, because hookrun put this folder into PYTHONPATH; leaves no trace of itself.

Nothing here may fail, print or import more than needed: the program knows nothing of us.
"""

import importlib
import sys
from pathlib import Path


def _step_aside() -> None:
    """Make room for the sitecustomize that would have been read without us, and read it."""
    here = str(Path(__file__).parent)
    sys.path[:] = [folder for folder in sys.path if folder != here]
    ours = sys.modules.pop(__name__)
    try:
        importlib.import_module(__name__)
    except ModuleNotFoundError as error:
        if error.name != __name__:
            raise
    sys.modules.setdefault(__name__, ours)  # what imports us looks for a module of this name when it is done


def _arm() -> None:
    try:
        from hookrun.program.arming import arm
    except ImportError as error:
        sys.stderr.write(
            f"hookrun: warning: {sys.executable} has no hookrun ({error}); install it there to measure this program\n"
        )
        return
    arm()


_arm()
_step_aside()
