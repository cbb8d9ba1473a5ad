"""Run every case of this folder in the interpreter at hand; for interpreters without pytest.

    MICROPYPATH=firmware:protocol:tests/board:.frozen micropython -X heapsize=190k tests/board/run_on_micropython.py

The last line is `cases N failed M`; the exit status is not 0 when a case has failed.
"""

import gc
import sys

MODULES = (
    "test_blocks",
    "test_channel",
    "test_checksum",
    "test_config",
    "test_description",
    "test_driver",
    "test_energy",
    "test_frame",
    "test_framing",
    "test_link",
    "test_messages",
    "test_publisher",
    "test_ring",
    "test_ticks",
    "test_wifi",
    "test_zmtp",
)


def run_module(name):
    """Run the cases of one module and forget it again; return (cases, failed)."""
    module = __import__(name)
    cases = [case for case in sorted(dir(module)) if case.startswith("test_")]
    failed = 0
    for case in cases:
        gc.collect()
        try:
            getattr(module, case)()
        except Exception as error:  # noqa: BLE001 - a runner reports whatever a case raises
            failed += 1
            print("FAILED %s.%s" % (name, case))
            sys.print_exception(error)
    del sys.modules[name]
    return len(cases), failed


def main():
    """Run all modules; return True when every case has passed."""
    cases = failed = 0
    for name in MODULES:
        more, wrong = run_module(name)
        cases += more
        failed += wrong
    print("cases %d failed %d" % (cases, failed))
    return failed == 0


if __name__ == "__main__" and not main():
    sys.exit(1)
