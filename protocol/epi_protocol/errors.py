"""Errors of the wire. Board-clean."""


class ProtocolError(Exception):
    """Bytes from the other side that this version cannot take; the message says what came and what was expected."""


class VersionError(ProtocolError):
    """The other side speaks a protocol version that this one does not know."""
