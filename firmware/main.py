"""Runs by itself when the board has power: starts the firmware in the active slot, or in the other one when that fails.

A slot is a folder that `epi flash` writes; its manifest.json comes last, so a slot without one is never started. The file
`active` names a slot. Behind the name of a new firmware stands how many more times it may start without saying that it is
healthy; at 0 the other slot starts. Where there is no whole slot, the plain folder `epi_firmware` does.
"""

import gc
import os
import sys

SLOTS = ("app_a", "app_b")
_PATIENCE_MS = 20_000
_COLLECT_BYTES = 8000


def read_pointer():
    """Return (slot, starts left) from `active`: ("", None) where it is missing or damaged, None starts for a proven firmware."""
    try:
        with open("active") as file:
            words = file.read(32).split()
        slot, left = words[0], int(words[1]) if len(words) > 1 else None
    except (OSError, ValueError, IndexError):
        return "", None
    return (slot, left) if slot in SLOTS else ("", None)


def write_pointer(text):
    """Replace `active` in one step. A flash that takes no writing must not keep the meter from measuring."""
    try:
        with open("active.new", "w") as file:
            file.write(text)
        os.rename("active.new", "active")
    except OSError as error:
        sys.print_exception(error)


def is_whole(slot):
    """True where a slot holds all of a firmware."""
    try:
        os.stat(slot + "/manifest.json")
    except OSError:
        return False
    return slot != ""


def choose():
    """Return (slot, on trial): which slot to start, "" for the plain folders. Counts the start of a firmware on trial."""
    slot, left = read_pointer()
    if left and is_whole(slot):
        write_pointer("%s %d" % (slot, left - 1))
        return slot, True
    given_up = slot if left == 0 else ""
    for candidate in (slot,) + SLOTS:
        if candidate != given_up and is_whole(candidate):
            return candidate, False
    return "", False


def arm_deadman(machine):
    """Start a timer that resets the board, and return what stops it. A port without timers has to do without."""
    if not hasattr(machine, "Timer"):
        return lambda: None
    once = machine.Timer.ONE_SHOT
    return machine.Timer(-1, mode=once, period=_PATIENCE_MS, callback=lambda _timer: machine.reset()).deinit


def load():
    """Import the firmware, collecting often so that what stays lies close together, and return its `start`."""
    gc.collect()
    gc.threshold(_COLLECT_BYTES)
    from epi_firmware.board import start

    gc.collect()
    gc.threshold(-1)
    return start


def run_on_trial(slot):
    """Start a firmware that may crash or hang: then the board resets, until `choose` has seen enough of it."""
    import machine

    def healthy():
        stop_deadman()
        write_pointer(slot)

    stop_deadman = arm_deadman(machine)
    try:
        load()(healthy)
    except Exception as error:  # noqa: BLE001 - whatever it is, the board must come back
        sys.print_exception(error)
        machine.reset()
    finally:
        stop_deadman()


def run():
    """Start what is there."""
    slot, on_trial = choose()
    if slot:
        sys.path.insert(0, slot)
    if on_trial:
        run_on_trial(slot)
    else:
        load()()


run()
