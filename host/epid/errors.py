"""Errors a person can act upon: one sentence that says what, where, and what to do."""

from __future__ import annotations


class EpidError(Exception):
    """Expected failure; the command line prints the sentence without a traceback and exits with `exit_code`."""

    exit_code = 1


class UsageError(EpidError):
    """What was asked for cannot be done as it was asked."""

    exit_code = 2


class LinkError(EpidError):
    """A meter cannot be opened, or what answers is no meter that this program can read."""

    exit_code = 3


class RunFileError(EpidError):
    """A run file cannot be read, or does not hold what the command needs."""

    exit_code = 4
