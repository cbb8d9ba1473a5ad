"""What torch calls a device module, with a queue and a clock of its own, both moved by hand."""

from __future__ import annotations

from typing import Any


class Device:
    """Work takes `work_ns` of the device's time per event; the host runs ahead until it waits. Counts every wait."""

    def __init__(self, work_ns: int = 1_000_000) -> None:
        self.work_ns = work_ns
        self.host_ns = 10**12
        self.passed_ns = 0  # device time up to which the queue has been worked off
        self.queue_ns = 0  # device time at which everything queued is done
        self.waits = 0
        self.made = 0
        self.capturing = False
        device = self

        class Event:
            def __init__(self, enable_timing: bool = False) -> None:
                assert enable_timing
                device.made += 1
                self.at_ns = -1

            def record(self) -> None:
                assert not device.capturing, "an event recorded while a graph is captured becomes part of it"
                device.queue_ns += device.work_ns
                self.at_ns = device.queue_ns

            def query(self) -> bool:
                return self.at_ns <= device.passed_ns

            def synchronize(self) -> None:
                device.waits += 1
                device.work_off(self.at_ns)

            def elapsed_time(self, other: Any) -> float:
                assert self.query()
                assert other.query()
                return (other.at_ns - self.at_ns) / 1e6

        self.Event = Event

    def is_current_stream_capturing(self) -> bool:
        return self.capturing

    def clock(self) -> int:
        """The host's clock, which shows the device's time plus an offset whenever the host has waited."""
        return self.host_ns + self.passed_ns

    def work_off(self, until_ns: int | None = None) -> None:
        self.passed_ns = max(self.passed_ns, self.queue_ns if until_ns is None else until_ns)
