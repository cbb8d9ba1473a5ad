"""The wire and nothing else: what the meter board, the daemon and the nodes say to one another.

`frame`, `checksum`, `ticks`, `messages` and `errors` run unchanged on the board (MicroPython) and on the host (CPython);
`events` and `spec` are CPython only. SPEC.md is generated from these tables.
"""

PROTOCOL_VERSION = 2
"""Raised whenever an old reader would misread a new message; SPEC.md and the changelog's "On the wire" say what changed."""
