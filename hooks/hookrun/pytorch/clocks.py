"""When a boundary was passed: on the CPU when Python passes it, on a GPU when the device does, which is learnt later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..clock import node_ns


class Clock(Protocol):
    """`now` costs next to nothing and returns a stamp; `times_ns` turns stamps into times once they are `ready`."""

    @property
    def now(self) -> Callable[[], Any]: ...
    def ready(self, stamp: Any) -> bool: ...
    def times_ns(self, stamps: Sequence[Any]) -> list[int]: ...
    def wait(self, stamp: Any) -> None: ...
    def anchor(self) -> None: ...
    def recording_allowed(self) -> bool: ...


class HostClock:
    """Stamps are times already."""

    def __init__(self, clock: Callable[[], int] = node_ns) -> None:
        self.now = clock

    def ready(self, stamp: Any) -> bool:
        return True

    def times_ns(self, stamps: Sequence[Any]) -> list[int]:
        return list(stamps)

    def wait(self, stamp: Any) -> None:
        """Nothing is ever awaited."""

    def anchor(self) -> None:
        """The host's clock needs no other."""

    def recording_allowed(self) -> bool:
        return True


class DeviceClock:
    """Stamps are events in the device's own queue, read when the device has passed them; no layer ever waits for one.

    `device` is what torch calls a device module (torch.cuda, torch.xpu). Once per request, where the device is idle anyway,
    one event is awaited to tie its clock to the host's: an elapsed time is a float of milliseconds, so its error grows with
    the distance from there (4 µs after a minute).
    """

    def __init__(self, device: Any, clock: Callable[[], int] = node_ns) -> None:
        self._device, self._clock = device, clock
        self._spare: list[Any] = []
        self._capturing: Callable[[], bool] = getattr(device, "is_current_stream_capturing", lambda: False)
        self.anchor()

    def now(self) -> Any:
        event = self._spare.pop() if self._spare else self._device.Event(enable_timing=True)
        event.record()
        return event

    def anchor(self) -> None:
        """Tie the device's clock to the host's, by waiting for the device once."""
        self._anchor = self._device.Event(enable_timing=True)
        self._anchor.record()
        self._anchor.synchronize()
        self._anchor_ns = self._clock()

    def ready(self, stamp: Any) -> bool:
        return bool(stamp.query())

    def wait(self, stamp: Any) -> None:
        stamp.synchronize()

    def times_ns(self, stamps: Sequence[Any]) -> list[int]:
        """Return the times of events that the device has passed; the events are used again."""
        times = [self._anchor_ns + round(self._anchor.elapsed_time(event) * 1e6) for event in stamps]
        self._spare.extend(stamps)
        return times

    def recording_allowed(self) -> bool:
        """Return False while a CUDA graph is captured: an event would become part of the graph."""
        return not self._capturing()
