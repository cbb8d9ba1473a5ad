"""`epi sim`: options, complaints in one sentence, and a clean end."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random
from types import FrameType

import click

from epi_tools.chip import Circuit, Imperfections, Load, Mains
from epi_tools.plant import ChannelSpecError, Ledger, parse_channels
from epi_tools.plant.channels import GRAMMAR, build_source
from epi_tools.plant.cpu_load import NodePower
from epi_tools.sim.board import Board, BoardSetting
from epi_tools.sim.faults import GRAMMAR as FAULT_GRAMMAR
from epi_tools.sim.faults import Fault, FaultSpecError, parse_faults
from epi_tools.sim.host_port import HostPort, PortError, PtyPort, TcpPort
from epi_tools.sim.injector import Injector
from epi_tools.sim.micropython import BoardError, find_firmware
from epi_tools.sim.simulator import Simulator
from epi_tools.sim.truth import Setting, TruthFile
from epi_tools.sim.workbench import Workbench, WorkbenchError, hidden_sensors

EXAMPLE = """\b
Example, four nodes of which one follows a process on this machine:
  epi sim --port-link ./meter --truth truth.json \\
      --channel 0=cpu:@run.pid --channel 1=const:5 --channel 2=steps:3.5x5,11x5 --channel 3=sine:7,2,10

\b
A meter on a bad line whose second chip loses its supply after 10 s, and everybody's after a minute:
  epi sim --port-link ./meter --channel 0=const:5 --faults flips:1e-5,1=reset@10,brown-out@60
"""


class Complaint(click.ClickException):
    """Bad input: one sentence, exit code 2."""

    exit_code = 2


def host_clock() -> int:
    """The clock of truth.json and of the daemon: CLOCK_MONOTONIC_RAW in nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


@click.command(epilog=EXAMPLE)
@click.option("--channel", "channels", multiple=True, metavar="N=SPEC", help=f"What channel N (0-3) powers: {GRAMMAR}.")
@click.option("--port-link", type=click.Path(path_type=Path), help="Make this path a link to the board's serial port.")
@click.option("--tcp", metavar="HOST:PORT", help="Offer the board's serial bytes on TCP instead; port 0 lets the system choose.")
@click.option(
    "--truth", type=click.Path(path_type=Path, dir_okay=False), help="Write the true energies to this file every second."
)
@click.option("--sample-hz", type=click.IntRange(1, 40), default=20, show_default=True, help="Sweeps per second of the firmware.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Chips' small errors and noise, board's identity."
)
@click.option(
    "--ticks-us", type=click.IntRange(0, (1 << 30) - 1), default=0, help="The board's ticks at boot, to see them wrap at 2^30."
)
@click.option("--ideal", is_flag=True, help="Chips without noise, drift or crystal error.")
@click.option("--volts", type=click.FloatRange(1, 300), default=230.0, show_default=True, help="Mains voltage.")
@click.option("--line-hz", type=click.FloatRange(45, 65), default=50.0, show_default=True, help="Mains frequency.")
@click.option(
    "--displacement", type=float, default=-15.0, show_default=True, help="Lag of the current in degrees, capacitive below 0."
)
@click.option("--distortion", type=float, default=0.6, show_default=True, help="Fundamental over rms current, up to 1.")
@click.option("--hidden-gain", multiple=True, metavar="N=FACTOR", help="Channel N's transformer reads FACTOR times the current.")
@click.option(
    "--hidden-phase", multiple=True, metavar="N=DEG", help="Channel N's transformer lags; 180 is one clamped on reversed."
)
@click.option("--faults", multiple=True, metavar="SPEC,…", help=f"What goes wrong, S seconds after the start: {FAULT_GRAMMAR}.")
@click.option("--bench", type=click.Path(path_type=Path), help='What stands at the sockets, looked at while running: {"0": 60}.')
@click.option("--idle-w", type=click.FloatRange(0), default=3.5, show_default=True, help="Watts of a cpu: channel at rest.")
@click.option(
    "--full-w", type=click.FloatRange(0), default=11.0, show_default=True, help="Watts of a cpu: channel with all cores busy."
)
@click.option(
    "--cores",
    type=click.FloatRange(0.01),
    default=float(os.cpu_count() or 1),
    show_default=True,
    help="Cores that full load means.",
)
@click.option(
    "--firmware", type=click.Path(path_type=Path, file_okay=False), help="Folder of the firmware; default: this repository's."
)
@click.option("--duration", type=click.FloatRange(0), metavar="S", help="Stop after S seconds; default: on Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line when the port exists, and one at the end.")
def sim(
    channels: tuple[str, ...],
    port_link: Path | None,
    tcp: str | None,
    truth: Path | None,
    sample_hz: int,
    seed: int,
    ticks_us: int,
    ideal: bool,
    volts: float,
    line_hz: float,
    displacement: float,
    distortion: float,
    hidden_gain: tuple[str, ...],
    hidden_phase: tuple[str, ...],
    faults: tuple[str, ...],
    bench: Path | None,
    idle_w: float,
    full_w: float,
    cores: float,
    firmware: Path | None,
    duration: float | None,
    as_json: bool,
) -> None:
    """Run the real firmware under a real MicroPython on four simulated meter chips, in real time.

    Its serial port appears as a device that `epid serve` opens like the real one. A channel that is not named has nothing
    plugged in.
    """
    try:
        rng = Random(seed)
        load, power = _load(displacement, distortion), NodePower(idle_w, full_w, cores)
        specs, planned = tuple(parse_channels(channels)), parse_faults(faults)
        circuits = tuple(
            Circuit(sensors, load, Mains(volts, line_hz), Imperfections() if ideal else Imperfections.typical(rng))
            for sensors in hidden_sensors(hidden_gain, hidden_phase)
        )
        board = BoardSetting(find_firmware(firmware), circuits, json.dumps({"sample_hz": sample_hz}), seed, ticks_us)
        _check_truth(truth)
        setting = Setting(seed, power, specs, circuits)
        _serve(board, setting, planned, _port_maker(port_link, tcp), truth, bench, duration, as_json)
    except (ChannelSpecError, FaultSpecError, PortError, BoardError, WorkbenchError) as error:
        raise Complaint(str(error)) from error
    except KeyboardInterrupt:
        return


def _load(displacement: float, distortion: float) -> Load:
    try:
        return Load(displacement, distortion)
    except ValueError as error:
        raise Complaint(str(error)) from error


def _serve(
    board_setting: BoardSetting,
    setting: Setting,
    faults: list[Fault],
    make_port: Callable[[], HostPort],
    truth: Path | None,
    bench: Path | None,
    duration: float | None,
    as_json: bool,
) -> None:
    start_ns = host_clock()
    sources = [build_source(spec, setting.power, host_clock, start_ns) for spec in setting.specs]
    ledger = Ledger(sources, start_ns)
    signal.signal(signal.SIGTERM, _end_like_ctrl_c)
    with ExitStack() as stack:
        port = make_port()
        stack.callback(port.close)
        board = Board(board_setting, sources, host_clock)
        stack.callback(board.close)
        truth_file = TruthFile(truth, setting, ledger) if truth else None
        on_tick = Workbench(bench, board.chips, setting.circuits).look if bench else None
        injector = Injector(faults, board, host_clock, start_ns, setting.seed)
        simulator = Simulator(board, port, ledger, truth_file, host_clock, on_tick, injector)
        _say_ready(port.name, setting, as_json)
        try:
            simulator.run(duration)
        finally:
            _say_end(simulator, ledger, as_json)
            if truth_file and truth_file.trouble:
                raise click.ClickException(truth_file.trouble)


def _port_maker(link: Path | None, tcp: str | None) -> Callable[[], HostPort]:
    if tcp is None:
        return lambda: PtyPort(link)
    if link is not None:
        raise PortError("Give either --port-link or --tcp, not both.")
    host, _, port = tcp.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise PortError(f"TCP address '{tcp}' is not HOST:PORT, like 127.0.0.1:0.")
    return lambda: TcpPort(host.strip("[]"), int(port))


def _check_truth(truth: Path | None) -> None:
    if truth is not None and not (truth.absolute().parent.is_dir() and os.access(truth.absolute().parent, os.W_OK)):
        raise PortError(f"Cannot write {truth}: its folder does not exist or is not writable.")


def _say_ready(port: str, setting: Setting, as_json: bool) -> None:
    if as_json:
        ready = {"event": "ready", "simulated": True, "port": port, "pid": os.getpid(), "channels": setting.specs}
        print(json.dumps(ready), flush=True)
        return
    watts = "  ".join(f"{channel}={spec}" for channel, spec in enumerate(setting.specs))
    print(f"Simulated meter on {port}   {watts}   (Ctrl-C stops it)", flush=True)


def _say_end(simulator: Simulator, ledger: Ledger, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"event": "end", "energy_j": ledger.energy_j} | simulator.counters()), flush=True)
        return
    energies = "  ".join(f"{channel}: {energy_j:.1f} J" for channel, energy_j in enumerate(ledger.energy_j))
    print(f"True energy (simulated)   {energies}", file=sys.stderr)


def _end_like_ctrl_c(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
