"""The same cases under real MicroPython, on 64 and on 32 bits."""

import re

import interpreters
import pytest
import run_on_micropython

RUNNER = interpreters.HERE / "run_on_micropython.py"
OWN = "test_interpreters"  # the only module here that needs CPython


def cases_of(result):
    """Return the number of cases that passed; fail with the interpreter's output where one did not."""
    found = re.search(r"^cases (\d+) failed (\d+)$", result.stdout, re.MULTILINE)
    assert found, result.stdout + result.stderr
    assert found.group(2) == "0", result.stdout
    assert result.returncode == 0
    return int(found.group(1))


def test_no_module_is_forgotten():
    here = {path.stem for path in interpreters.HERE.glob("test_*.py")} - {OWN}
    assert here == set(run_on_micropython.MODULES)


@pytest.mark.parametrize("run", [interpreters.run_unix, interpreters.run_wasm], ids=["unix-64-bit", "wasm-32-bit"])
def test_all_cases_pass(run, record_property, capsys):
    options = {"heap": "600k"} if run is interpreters.run_unix else {}
    try:
        cases = cases_of(run(RUNNER, **options))
    except interpreters.Missing as missing:
        pytest.skip(str(missing))
    record_property("cases", cases)
    with capsys.disabled():
        print(f" {cases} cases", end="")
    assert cases >= 140
