"""The simulated board: interpreter, console, tunnel and chips, with power-on, reset, watchdog and crash."""

import os
import pty
import signal
import socket
import subprocess
import tempfile
import tty
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from epi_tools.chip import Atm90e26, Circuit, PowerSource, SpiPort
from epi_tools.sim.micropython import Firmware, boot
from epi_tools.sim.spi_bus import SpiBus
from epi_tools.sim.tunnel import BusClock, Tunnel

POWER_ON, WATCHDOG = 1, 3  # causes of a reset, as machine.reset_cause() names them on rp2


@dataclass(frozen=True)
class BoardSetting:
    """What distinguishes one simulated board from another."""

    firmware: Firmware
    circuits: tuple[Circuit, ...]
    config: str
    seed: int = 0
    ticks_us: int = 0

    @property
    def unique_id(self) -> str:
        return f"{0x53494D00 << 32 | self.seed & 0xFFFFFFFF:016x}"


class Board:
    """A board with power. `console` is the descriptor to pump; `tunnel` is the SPI tunnel of the running boot."""

    def __init__(self, setting: BoardSetting, sources: Sequence[PowerSource], clock: Callable[[], int]) -> None:
        self._setting, self._clock = setting, clock
        self._bus_clock = BusClock(clock())
        self.chips = [
            Atm90e26(source, self._bus_clock.read_ns, circuit, seed=setting.seed * 8 + channel)
            for channel, (source, circuit) in enumerate(zip(sources, setting.circuits, strict=True))
        ]
        self.ports = [SpiPort(chip, self._bus_clock.read_ns) for chip in self.chips]
        self.bus = SpiBus(self.ports)
        self._flash = tempfile.TemporaryDirectory(prefix="epi-board-")
        Path(self._flash.name, "config.json").write_text(setting.config)
        self.console, self._terminal = pty.openpty()
        tty.setraw(self._terminal)
        os.set_blocking(self.console, False)
        self.boots = 0
        self._cut = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self.power_on()

    @property
    def connection(self) -> socket.socket:
        """The socket on which SPI packets of this boot arrive."""
        assert self._connection is not None
        return self._connection

    def power_on(self, cause: int = POWER_ON) -> None:
        """Boot the firmware. Its pins float until it sets them; the chips keep what they have."""
        self.stop()
        if self._cut:
            self._cut, cause = "", POWER_ON
        self.bus.release()
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = boot(self._setting.firmware, self._terminal, theirs, Path(self._flash.name), self._environment(cause))
        self.tunnel = Tunnel(self._connection, self.bus, self._bus_clock, self._clock)
        self.boots += 1

    def why_down(self) -> str | None:
        """Why the board has to boot again, or None while it runs."""
        if self._cut:
            return self._cut
        if self.tunnel.reset_asked:
            return "it asked for a reset"
        if self.tunnel.watchdog_bites(self._clock()):
            return "its watchdog was not fed"
        code = self._process.poll() if self._process else None
        return None if code is None else f"its interpreter ended with code {code}"

    def cut_power(self, reason: str) -> None:
        """Have the board boot again, as after power-on, for `reason`."""
        self._cut = reason

    def keep_up(self) -> None:
        """Let the chips integrate even when nobody reads them."""
        self._bus_clock.advance(self._clock())
        for chip in self.chips:
            chip.keep_up()

    def stop(self) -> None:
        """Take the interpreter away, at once."""
        if self._process:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._connection:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Unplug for good."""
        self.stop()
        os.close(self.console)
        os.close(self._terminal)
        self._flash.cleanup()

    def _environment(self, cause: int) -> dict[str, str]:
        return {
            "EPI_SIM_UNIQUE_ID": self._setting.unique_id,
            "EPI_SIM_RESET_CAUSE": str(cause),
            "EPI_SIM_TICKS_US": str(self._setting.ticks_us),
        }
