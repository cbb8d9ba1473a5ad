"""What hookrun loads, in a fresh interpreter: nothing heavy until an engine is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("numpy", "torch", "llama_cpp", "click", "transformers")


@pytest.mark.parametrize(
    "statements",
    [
        "import hookrun",
        "import hookrun.cli, hookrun.llama, hookrun.llama.command, hookrun.llama.overhead_command, hookrun.sending.recording",
        "import hookrun.program.arming, hookrun.pytorch.adapter, hookrun.pytorch.overhead, hookrun.llama_python.adapter",
        "from hookrun.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass",
        "from hookrun.cli import main\ntry:\n    main(['llama', '--help'])\nexcept SystemExit:\n    pass",
    ],
)
def test_no_engine_is_loaded(statements: str) -> None:
    code = f"import sys\n{statements}\nprint('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"
