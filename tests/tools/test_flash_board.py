"""`epi flash` against a simulated board: the real main.py under a real MicroPython on a pty, through mpremote's transport."""

import json
import os
import pty
import socket
import subprocess
import threading
import time
import tty

import pytest
import serial
import zmq
from board_bench import EPI, RunningSim, Talker, wait_for
from click.testing import CliRunner
from tiny_firmware import CRASHES, ENDS, HANGS, write_firmware

from epi_tools.board import BoardError, Identity, Port, choose_port, connect, hello, ports, repl, wait_for_hello
from epi_tools.cli import epi
from epi_tools.flash import flasher
from epi_tools.flash.build import find_sources


@pytest.fixture
def board(tmp_path, monkeypatch):
    """A board that runs firmware 1.0.0 from its plain folder, and says HELLO more often than the real one."""
    monkeypatch.setattr(repl, "HELLO_S", 1.0)
    monkeypatch.setattr(repl, "PROMPT_S", 0.5)
    with RunningSim(tmp_path, "--firmware", str(write_firmware(tmp_path / "firmware", "1.0.0"))) as sim:
        yield sim


def epi_flash(port, firmware, *options):
    """Run the command; returns its result."""
    return CliRunner().invoke(epi, ["flash", "--port", str(port), "--firmware", str(firmware), *options])


def complaint(result):
    """The one sentence of a command that failed."""
    assert result.exit_code == 2, result.output
    said = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(said) == 1 and said[0].endswith("."), result.output
    assert "Traceback" not in result.output
    return said[0].removeprefix("Error: ")


def runs(board):
    """The version that says HELLO on the board's port."""
    heard = wait_for_hello(str(board.link), "53494d0000000000", 10)
    return heard and heard.version


def test_flash_twice_and_once_more_for_nothing(board, tmp_path, capsys):
    for number, slot in ((2, "app_a"), (3, "app_b")):
        firmware = write_firmware(tmp_path / f"v{number}", f"{number}.0.0")
        result = epi_flash(board.link, firmware, "--json")
        assert result.exit_code == 0, result.output
        done = json.loads(result.stdout)
        assert done["firmware"].startswith(f"{number}.0.0+") and done["previous"].startswith(f"{number - 1}.0.0")
        assert done["slot"] == slot and done["simulated"] is True and done["board_id"] == "53494d0000000000"
        assert runs(board) == done["firmware"]
    again = epi_flash(board.link, firmware)
    assert again.exit_code == 0 and "already; nothing was written" in again.stdout
    assert runs(board) == done["firmware"]
    with connect(str(board.link)) as prompt:
        assert prompt.read("active") == b"app_b"  # it has said that it is healthy
    with capsys.disabled():
        print(f" {done['written_bytes']} bytes written in {done['write_s']} s, running after {done['total_s']} s", end="")


def test_a_board_behind_a_tcp_address_is_flashed_too(tmp_path):
    (tmp_path / "sim").mkdir()
    with RunningSim(tmp_path / "sim", "--firmware", str(write_firmware(tmp_path / "v1", "1.0.0")), tcp=True) as sim:
        assert sim.link.startswith("tcp://127.0.0.1:")
        result = epi_flash(sim.link, write_firmware(tmp_path / "v2", "2.0.0"), "--json")
        assert result.exit_code == 0, result.output
        done = json.loads(result.stdout)
        assert done["firmware"].startswith("2.0.0+") and done["previous"] == "1.0.0"
        assert wait_for_hello(choose_port(sim.link), done["board_id"], 10).version == done["firmware"]


def test_a_board_at_its_prompt_is_flashed_too(board, tmp_path):
    connect(str(board.link)).close()
    result = epi_flash(board.link, write_firmware(tmp_path / "new", "2.0.0"), "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["previous"] is None
    assert runs(board).startswith("2.0.0+")


def test_a_firmware_that_crashes_is_undone_by_the_board_itself(board, tmp_path):
    said = complaint(epi_flash(board.link, write_firmware(tmp_path / "new", "2.0.0", CRASHES)))
    assert "2.0.0+" in said and said.endswith("failed on the board, which has gone back to 1.0.0 by itself.")
    assert runs(board) == "1.0.0"


def test_a_firmware_without_hello_is_undone_by_the_tool(board, tmp_path):
    said = complaint(epi_flash(board.link, write_firmware(tmp_path / "new", "2.0.0", ENDS), "--timeout", "1.5"))
    assert said.endswith("did not say HELLO within 1.5 s; the board runs 1.0.0 again.")
    assert runs(board) == "1.0.0"
    with connect(str(board.link)) as prompt:
        assert not prompt.exists("active") and not prompt.exists("app_a/manifest.json")


def test_a_firmware_that_hangs_is_reset_by_the_board_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(repl, "HELLO_S", 1.0)
    monkeypatch.setattr(repl, "PROMPT_S", 0.5)
    hanging = write_firmware(tmp_path / "new", "2.0.0", HANGS)
    with RunningSim(tmp_path, "--firmware", str(write_firmware(tmp_path / "firmware", "1.0.0", patience_ms=1500))) as board:
        said = complaint(epi_flash(board.link, hanging, "--timeout", "1"))
        assert said.endswith("did not say HELLO within 1 s; the board runs 1.0.0 again.")
        assert runs(board) == "1.0.0"


def test_a_firmware_that_hangs_and_answers_nobody_is_said(board, tmp_path, monkeypatch):
    monkeypatch.setattr(flasher, "OWN_WAY_BACK_S", 0.5)  # main.py needs longer
    said = complaint(epi_flash(board.link, write_firmware(tmp_path / "new", "2.0.0", HANGS), "--timeout", "1"))
    assert said.endswith("the board does not answer any more: unplug it, plug it in again and repeat this command.")


def test_the_board_that_comes_back_under_another_name_is_found(tmp_path, monkeypatch):
    firmware = write_firmware(tmp_path / "firmware", "1.0.0")
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    with RunningSim(tmp_path / "first", "--firmware", str(firmware), "--seed", "7") as first:
        board_id = wait_for_hello(str(first.link), "53494d0000000007", 10).board_id
        gone = str(first.link)
    with RunningSim(tmp_path / "second", "--firmware", str(firmware), "--seed", "7") as second:
        monkeypatch.setattr(hello, "find_ports", lambda: [Port("/dev/ttyACM9", "other"), Port(str(second.link), board_id)])
        heard = wait_for_hello(gone, board_id, 10)
        assert heard.port == str(second.link) and heard.board_id == board_id
        monkeypatch.setattr(hello, "find_ports", list)
        assert wait_for_hello(str(second.link), "another board", 1.5) is None


def test_unplugged_in_the_middle_leaves_one_sentence(board, tmp_path, monkeypatch):
    result = []
    firmware = write_firmware(tmp_path / "new", "2.0.0")
    wrote = threading.Event()
    monkeypatch.setattr("epi_tools.flash.command.Terminal", lambda: Unplug(wrote))
    thread = threading.Thread(target=lambda: result.append(epi_flash(board.link, firmware)))
    thread.start()
    assert wrote.wait(20)
    board.process.kill()
    thread.join(30)
    assert "is gone: plug it in again" in complaint(result[0])


class Unplug(flasher.Reporter):
    """Says when the first bytes are written, and gives time to pull the plug."""

    def __init__(self, wrote):
        self._wrote = wrote

    def wrote(self, count):
        self._wrote.set()
        time.sleep(0.05)


def test_ports_that_are_none_or_not_ours(tmp_path, monkeypatch):
    firmware = write_firmware(tmp_path / "firmware", "1.0.0")
    assert complaint(epi_flash("/dev/ttyNOPE", firmware)).startswith("There is no serial port /dev/ttyNOPE: plug the board in")
    assert "is not a serial port" in complaint(epi_flash(firmware / "main.py", firmware))
    monkeypatch.setattr(ports, "find_ports", list)
    with pytest.raises(BoardError, match="No board is plugged in"):
        choose_port(None)
    monkeypatch.setattr(ports, "find_ports", lambda: [Port("/dev/ttyACM0", ""), Port("/dev/ttyACM1", "")])
    with pytest.raises(BoardError, match=r"Several boards are plugged in \(/dev/ttyACM0, /dev/ttyACM1\): choose one with --port"):
        choose_port(None)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1", "tcp://127.0.0.1:0", "tcp://:5000", "tcp://127.0.0.1:http"])
def test_addresses_that_are_none(tmp_path, address):
    firmware = write_firmware(tmp_path / "firmware", "1.0.0")
    assert f"{address} is not tcp://HOST:PORT" in complaint(epi_flash(address, firmware))


def test_an_address_where_nobody_listens(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    sentence = complaint(epi_flash(address, write_firmware(tmp_path / "firmware", "1.0.0")))
    assert sentence == f"Nobody answers at {address} (Connection refused): mend the address, or start what listens there."


def test_the_network_port_of_a_board_with_wifi_takes_no_orders(tmp_path):
    with zmq.Context() as context, context.socket(zmq.PUB) as publisher:
        address = f"tcp://127.0.0.1:{publisher.bind_to_random_port('tcp://127.0.0.1')}"
        firmware = write_firmware(tmp_path / "firmware", "1.0.0")
        assert f"{address} is a board's network port" in complaint(epi_flash(address, firmware))
        calibrate = CliRunner().invoke(epi, ["calibrate", "--port", address, "--channel", "0", "--reference-w", "10.03", "--yes"])
        assert "use the board's USB cable, where its prompt is" in complaint(calibrate)


def test_a_port_that_another_program_holds(board, tmp_path):
    with serial.Serial(str(board.link), exclusive=True):
        assert "is in use by another program: stop it" in complaint(epi_flash(board.link, tmp_path / "firmware", "--again"))
    assert runs(board) == "1.0.0"


def test_something_that_is_no_micropython(tmp_path):
    main, terminal = pty.openpty()
    tty.setraw(terminal)
    said = complaint(epi_flash(os.ttyname(terminal), write_firmware(tmp_path / "firmware", "1.0.0")))
    os.close(main)
    os.close(terminal)
    assert said.startswith("Nothing on /dev/pts/") and "answers like a MicroPython" in said


@pytest.mark.parametrize("said", [b"y\n" * 300, b"\x00\xff\x04>>> " * 100])
def test_a_port_that_chatters_without_end_is_left_alone(tmp_path, monkeypatch, said):
    monkeypatch.setattr(repl, "HELLO_S", 0.3)
    monkeypatch.setattr(repl, "PROMPT_S", 0.5)
    firmware = write_firmware(tmp_path / "firmware", "1.0.0")
    with Talker(said, every_s=0.0) as port:
        began = time.monotonic()
        sentence = complaint(epi_flash(port.port, firmware))
        assert time.monotonic() - began < 10
    assert "is it the board's port?" in sentence  # it talks without end, or at least never says that it is at its prompt


def identity(**changes):
    ours = {
        "board_id": "e661",
        "implementation": "micropython",
        "version": (1, 28, 0),
        "machine": "Raspberry Pi Pico2 with RP2350",
        "platform": "rp2",
        "mpy": 0x1F06,
        "simulated": False,
    }
    return Identity(**(ours | changes))


def test_boards_that_are_not_for_us():
    flasher.check_board(identity())
    with pytest.raises(BoardError, match=r"runs circuitpython and the meter MicroPython"):
        flasher.check_board(identity(implementation="circuitpython"))
    with pytest.raises(BoardError, match=r"This is a board with Generic ESP32.*RP2350 and RP2040 only"):
        flasher.check_board(identity(machine="Generic ESP32 module", platform="esp32"))
    with pytest.raises(BoardError, match=r"has MicroPython 1\.21\.0 and the firmware needs 1\.22 or newer"):
        flasher.check_board(identity(version=(1, 21, 0)))


def test_a_board_that_is_not_for_us_goes_on_as_it_was(board, tmp_path, monkeypatch):
    monkeypatch.setattr(flasher, "MIN_VERSION", (9, 0))
    said = complaint(epi_flash(board.link, write_firmware(tmp_path / "new", "2.0.0")))
    assert "the firmware needs 9.0 or newer" in said
    assert runs(board) == "1.0.0"
    with connect(str(board.link)) as prompt:
        assert [entry.name for entry in prompt.entries()] == ["config.json"]


def test_options_that_do_not_go_together(tmp_path):
    firmware = write_firmware(tmp_path / "firmware", "1.0.0")
    assert "name MicroPython's UF2 file with --uf2" in complaint(epi_flash("x", firmware, "--drive", str(tmp_path)))
    assert "There is no firmware in" in complaint(epi_flash("x", tmp_path))


def test_help_has_an_example():
    result = CliRunner().invoke(epi, ["flash", "--help"])
    assert result.exit_code == 0 and "epi flash --uf2" in result.stdout


def test_the_real_firmware_flashes_and_measures(tmp_path, capsys):
    with RunningSim(tmp_path, "--channel", "0=const:5") as sim:
        command = [*EPI, "flash", "--port", str(sim.link), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert said["firmware"] == find_sources(None).version
        heard = wait_for_hello(str(sim.link), said["board_id"], 10)
        assert heard.version == said["firmware"] and heard.description["chip"] == "ATM90E26"
        assert wait_for(lambda: pointer(sim.link) == b"app_a", 20)
    with capsys.disabled():
        print(f" {said['written_bytes']} bytes written in {said['write_s']} s, measuring after {said['total_s']} s", end="")


def pointer(link):
    with connect(str(link)) as prompt:
        return prompt.read("active")
