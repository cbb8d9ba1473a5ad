"""Runs by itself when the board has power."""

from epi_firmware.board import start

start()
