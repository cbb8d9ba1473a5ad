"""Files that stand in for the board under the unix MicroPython; never imported by CPython."""
