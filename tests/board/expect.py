"""What the cases need of a test framework, for interpreters that have none."""


def raises(kind, call, *args):
    """Assert that `call(*args)` raises `kind`; return the error's text."""
    try:
        call(*args)
    except kind as error:
        return str(error)
    raise AssertionError("%s did not raise %s" % (call, kind.__name__))


def equal(found, expected):
    """Assert that both are equal, and show both where they are not."""
    assert found == expected, (found, expected)


class Noise:
    """A small reproducible source of bytes (xorshift of 16 bits)."""

    def __init__(self, seed=1):
        self._state = seed

    def below(self, limit):
        """Return a number from 0 to limit - 1; limit at most 65536."""
        state = self._state
        state ^= (state << 7) & 0xFFFF
        state ^= state >> 9
        state ^= (state << 8) & 0xFFFF
        self._state = state
        return state % limit

    def bytes(self, count):
        """Return `count` bytes, about one in four of them zero."""
        return bytes([0 if self.below(4) == 0 else self.below(256) for _ in range(count)])
