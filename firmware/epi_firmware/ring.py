"""A ring of frames, made once. When it is full, the oldest frame makes room and is counted."""


class FrameRing:
    """`size` frames of at most `frame_bytes`; allocates nothing after it is made.

    The writer fills `slot()` and calls `push`. The reader looks at `oldest()`, says `hold` when it has begun to send it (such a
    frame is not dropped: half of it is on the line), and `pop` when it is done.
    """

    def __init__(self, size, frame_bytes):
        if size < 3:
            raise ValueError("a ring of %d frames; at least 3 are needed" % size)
        self.dropped = 0
        self._slots = [bytearray(frame_bytes) for _ in range(size)]
        self._lengths = [0] * size
        self._head = 0
        self._count = 0
        self._held = False

    def __len__(self):
        return self._count

    def slot(self):
        """The buffer for the next frame; it is not in the ring before `push`."""
        slots = self._slots
        if self._count == len(slots) - 1:
            self._drop()
        return slots[(self._head + self._count) % len(slots)]

    def push(self, length):
        """Take the frame of `length` bytes that was written to `slot()` into the ring."""
        self._lengths[(self._head + self._count) % len(self._slots)] = length
        self._count += 1

    def oldest(self):
        """The oldest frame's buffer; only when the ring is not empty."""
        return self._slots[self._head]

    def oldest_length(self):
        """Length of the oldest frame in bytes."""
        return self._lengths[self._head]

    def hold(self):
        """The oldest frame is being sent."""
        self._held = True

    def pop(self):
        """The oldest frame has been sent, or is given up."""
        self._held = False
        self._head = (self._head + 1) % len(self._slots)
        self._count -= 1

    def _drop(self):
        self.dropped += 1
        head = self._head
        following = (head + 1) % len(self._slots)
        if self._held:
            slots, lengths = self._slots, self._lengths
            slots[head], slots[following] = slots[following], slots[head]
            lengths[head], lengths[following] = lengths[following], lengths[head]
        self._head = following
        self._count -= 1
