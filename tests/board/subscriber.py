"""What a ZeroMQ subscriber puts on the wire, written out from RFC 23 and RFC 37."""

SUB_READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"


def greeting(major=3, minor=1, mechanism=b"NULL", first=0xFF):
    """The 64 bytes at the start of a connection."""
    return bytes([first]) + b"\0" * 8 + b"\x7f" + bytes([major, minor]) + mechanism + b"\0" * (52 - len(mechanism))


def message(body):
    """A short message of one part."""
    return bytes([0, len(body)]) + body


def command(name, data):
    """A short command."""
    return bytes([4, 1 + len(name) + len(data), len(name)]) + name + data
