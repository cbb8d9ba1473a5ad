"""The loop allocates nothing, on 64 and on 32 bits, and the firmware fits its heap with room to spare."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import interpreters
import pytest

ON_BOARD = Path(__file__).parent / "on_board"
RUNS = {"unix-64-bit": interpreters.run_unix, "wasm-32-bit": interpreters.run_wasm}


@pytest.fixture(scope="module")
def results():
    """Run the 10,000 sweeps under both interpreters at the same time; they are the slow part of this folder."""

    def run(name):
        try:
            return RUNS[name](ON_BOARD / "allocation.py")
        except interpreters.Missing as missing:
            return missing

    with ThreadPoolExecutor(len(RUNS)) as pool:
        return dict(zip(RUNS, pool.map(run, RUNS), strict=True))


def figures_of(result):
    if isinstance(result, interpreters.Missing):
        pytest.skip(str(result))
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", RUNS)
def test_ten_thousand_sweeps_allocate_nothing(results, name, record_property):
    figures = figures_of(results[name])
    for key, value in figures.items():
        record_property(key, value)
    assert figures["sweeps"] == 10_000
    assert figures["allocated"] == 0


@pytest.mark.parametrize("name", RUNS)
def test_and_they_were_real_sweeps(results, name):
    figures = figures_of(results[name])
    assert figures["running"] and figures["wrapped"]
    assert figures["accesses"] > 80
    assert figures["dropped"] >= 90
    assert figures["bytes_sent"] > 221 * (10_000 - figures["dropped"])


def test_the_firmware_fits_a_heap_of_190_kb_with_room():
    try:
        result = interpreters.run_unix(ON_BOARD / "heap.py", heap="190k")
    except interpreters.Missing as missing:
        pytest.skip(str(missing))
    figures = figures_of(result)
    # The 64-bit interpreter's objects are twice as large as the board's: what is free here is more there. The collector is
    # conservative, so stale words (the length of this folder's path moves them) keep a kilobyte or two more or less.
    assert figures["used"] + figures["free"] < 194_000
    assert figures["free"] > 32_000


@pytest.mark.parametrize("name", RUNS)
def test_publishing_allocates_nothing(name):
    try:
        result = RUNS[name](ON_BOARD / "publishing.py")
    except interpreters.Missing as missing:
        pytest.skip(str(missing))
    figures = figures_of(result)
    assert figures["allocated"] == 0
    sample, pong, hello = 10 + 221, 8 + 32, 16 + 1212  # what topic and lengths take, and the frame
    assert figures["sent"] == 2000 * sample + 1000 * (pong + 10) + 100 * hello
    assert (figures["subscribers"], figures["command_bytes"], figures["refused"]) == (3, 3 * 1000 * 20, 0)
