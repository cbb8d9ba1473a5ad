"""The firmware and the bench of tests/board are imported by plain names, as on the board."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

for folder in (TESTS / "board", TESTS / "bench", TESTS / "firmware", TESTS.parent / "firmware"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture
def boot(tmp_path):
    """Start main.py in a fresh folder, as often as it is called; all are ended with the test."""
    from booted import Board

    boards = []

    def start(**options):
        boards.append(Board(tmp_path, **options))
        return boards[-1]

    yield start
    for board in boards:
        board.close()
