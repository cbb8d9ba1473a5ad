"""The simulated board under a real MicroPython: machine API, tunnel, resets, watchdog, REPL, serial port."""

import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from board_bench import EPI, RunningSim, read_until, wait_for

pytestmark = pytest.mark.skipif(not shutil.which("micropython"), reason="no micropython on PATH")

HEAD = """
import machine, sys, time, micropython, gc
from machine import Pin, SPI
out = sys.stdout.buffer
def say(*words): out.write((" ".join(str(word) for word in words) + "\\n").encode())
say("boot")
"""

CHIP = """
cs = [Pin(number, Pin.OUT, value=1) for number in (17, 20, 21, 22)]
spi = SPI(0, baudrate=125_000, polarity=1, phase=1, bits=8, sck=Pin(18), mosi=Pin(19), miso=Pin(16))
tx, rx = bytearray(3), bytearray(3)
def access(chip, address, data=0, read=True):
    tx[0] = (0x80 if read else 0) | address
    tx[1] = data >> 8
    tx[2] = data & 255
    cs[chip].off()
    spi.write_readinto(tx, rx)
    cs[chip].on()
    return rx[1] << 8 | rx[2]
time.sleep_ms(20)
"""


def lines(port, last):
    return read_until(port, last.encode() + b"\n").decode().splitlines()


def test_registers_by_the_machine_api(tmp_path):
    main = (
        HEAD
        + CHIP
        + """
say("reset", *[hex(access(chip, a)) for chip in range(4) for a in (0x20, 0x02, 0x2c, 0x3b, 0x05)])
access(2, 0x23, 0x1234, False)
say("written", hex(access(2, 0x23)), hex(access(2, 0x06)), hex(access(1, 0x23)), hex(access(1, 0x06)))
cs[0].value(0); spi.write(b"\\x23\\x43\\x21"); cs[0](1)
say("spi.write", hex(access(0, 0x23)))
cs[3].off(); spi.write(b"\\xa0"); piece = spi.read(2); cs[3].on()
say("pieces", piece, hex(access(3, 0x06)))
say("nobody", spi.read(3))
cs[0].off(); spi.write(b"\\xc8"); cs[0].on()
say("partial", hex(access(0, 0x06)))
cs[0].off(); spi.write(b"\\xa0"); time.sleep_ms(9); late = spi.read(2); cs[0].on()
say("late", late, cs[0].value(), Pin(5, Pin.IN).value())
gc.collect(); before = gc.mem_alloc()
for _ in range(2000): access(1, 0x4a)
say("allocated", gc.mem_alloc() - before)
say("ids", machine.unique_id(), machine.SIMULATED, machine.freq() > 0, machine.reset_cause())
bad = SPI(0, baudrate=125_000, polarity=0, phase=0)
say("mode 0", hex(access(0, 0x20)))
fast = SPI(0, baudrate=1_000_000, polarity=1, phase=1)
say("1 MHz", hex(access(0, 0x20)))
say("end")
"""
    )
    with RunningSim(tmp_path, "--seed", "5", main=main) as sim, sim.open() as port:
        wait_for(lambda: json.loads(sim.truth.read_text())["spi"]["transactions"] > 2000 if sim.truth.exists() else False)
        said = dict(line.split(" ", 1) for line in lines(port, "end") if " " in line)
    assert said["reset"].split() == ["0x6886", "0xc", "0x55cb", "0x6bb9", "0x0"] * 4
    assert said["written"] == "0x1234 0x1234 0x0 0x0"
    assert said["spi.write"] == "0x4321"
    assert said["pieces"] == "b'h\\x86' 0x6886"
    assert said["nobody"] == r"b'\xff\xff\xff'"
    assert said["partial"] == "0x4321"
    assert said["late"] == r"b'\xff\xff' 1 1"
    assert said["allocated"] == "0"
    assert said["ids"] == r"b'SIM\x00\x00\x00\x00\x05' True True 1"
    assert said["mode"] == "0 0xffff"
    assert said["1"] == "MHz 0xffff"


def test_ticks_wrap_at_thirty_bits(tmp_path):
    main = (
        HEAD
        + """
first = time.ticks_us()
time.sleep_ms(60)
last = time.ticks_us()
say("ticks", first, last, time.ticks_diff(last, first), time.ticks_add(last, 1 << 29) < 1 << 30, time.ticks_ms())
before = time.ticks_us(); time.sleep_us(100); took = time.ticks_diff(time.ticks_us(), before)
say("slept", took >= 100)
say("end")
"""
    )
    with RunningSim(tmp_path, "--ticks-us", str((1 << 30) - 30_000), main=main) as sim, sim.open() as port:
        said = dict(line.split(" ", 1) for line in lines(port, "end") if " " in line)
    first, last, difference, *_ = said["ticks"].split()
    assert int(first) > (1 << 30) - 30_000 and int(last) < 1 << 29
    assert 60_000 <= int(difference) < 5_000_000
    assert said["slept"] == "True"


def test_reset_boots_again_and_the_chips_keep_their_registers(tmp_path):
    main = (
        HEAD
        + CHIP
        + """
say("lgain", hex(access(0, 0x23)), machine.reset_cause())
if access(0, 0x23) == 0:
    access(0, 0x23, 0x77, False)
    machine.reset()
say("end")
"""
    )
    with RunningSim(tmp_path, main=main) as sim, sim.open() as port:
        text = read_until(port, b"end\n")
        code, out, err = sim.stop()
    assert b"lgain 0x77 3\n" in text
    assert code == 0
    assert json.loads(out)["boots"] == 2
    assert err == "epi sim: the board reboots: it asked for a reset\n"
    assert json.loads(sim.truth.read_text())["boots"] == 2


def test_a_hungry_watchdog_bites(tmp_path):
    main = (
        HEAD
        + """
if machine.reset_cause() == 3:
    say("bitten")
    while True: time.sleep(1)
wdt = machine.WDT(timeout=300)
for _ in range(10): wdt.feed(); time.sleep_ms(50)
say("fed")
while True: time.sleep(1)
"""
    )
    with RunningSim(tmp_path, main=main) as sim, sim.open() as port:
        text = read_until(port, b"bitten\n")
        assert "watchdog was not fed" in sim.stop()[2]
    assert text.count(b"fed\n") <= 1


def test_leaving_main_gives_the_repl_and_ctrl_d_a_reboot(tmp_path):
    with RunningSim(tmp_path, main=HEAD) as sim, sim.open() as port:
        read_until(port, b">>> ")
        port.write(b"print(6 * 7)\r")
        assert read_until(port, b"42\n>>> ").startswith(b"print(6 * 7)")
        port.write(b"\x04")
        read_until(port, b">>> ")
        assert "interpreter ended with code 0" in sim.stop()[2]


def test_a_crash_shows_its_traceback_and_leaves_the_repl(tmp_path):
    with RunningSim(tmp_path, main=HEAD + "1 / 0\n") as sim, sim.open() as port:
        assert b"ZeroDivisionError" in read_until(port, b">>> ")
        assert "ZeroDivisionError" in sim.stop()[2]


COUNTER = (
    HEAD
    + """
n = 0
while True:
    n += 1
    say("line", n)
    time.sleep_ms(1)
"""
)


def test_the_port_may_be_closed_and_opened_again(tmp_path):
    with RunningSim(tmp_path, main=COUNTER) as sim:
        seen = []
        for _ in range(3):
            with sim.open() as port:
                seen.append(int(re.findall(rb"line (\d+)0\n", read_until(port, b"0\n"))[-1]))
        code, out, err = sim.stop()
    assert seen == sorted(seen) and code == 0 and err == ""
    assert json.loads(out)["port"]["bytes_dropped"] >= 0


def test_a_host_that_does_not_read_loses_bytes_and_blocks_nobody(tmp_path):
    with RunningSim(tmp_path, main=COUNTER) as sim:
        with sim.open() as port:
            read_until(port, b"line 3\n")
            wait_for(lambda: json.loads(sim.truth.read_text())["port"]["bytes_dropped"] > 5000)
            old = port.read(100_000)
            last = int(read_until(port, b"\n").split()[-1])
        assert len(old) >= 4096
        assert last > 1000
        assert sim.stop()[0] == 0


def test_all_byte_values_pass_both_ways(tmp_path):
    main = (
        HEAD
        + """
micropython.kbd_intr(-1)
data = bytearray(1)
for _ in range(256):
    sys.stdin.buffer.readinto(data)
    out.write(data)
say("end")
"""
    )
    with RunningSim(tmp_path, main=main) as sim, sim.open() as port:
        read_until(port, b"boot\n")
        port.write(bytes(range(256)))
        assert read_until(port, b"end\n").startswith(bytes(range(256)) + b"end\n")


def test_tcp_carries_the_same_bytes_and_the_later_client_wins(tmp_path):
    echo = (
        HEAD
        + "micropython.kbd_intr(-1)\ndata = bytearray(1)\nwhile True:\n    sys.stdin.buffer.readinto(data)\n    out.write(data)\n"
    )
    firmware = tmp_path / "fw"
    firmware.mkdir()
    (firmware / "main.py").write_text(echo)
    command = [*EPI, "sim", "--json", "--tcp", "127.0.0.1:0", "--firmware", str(firmware), "--duration", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["port"].removeprefix("tcp://").rsplit(":", 1)
        try:
            for word in (b"one", b"two"):
                client = socket.create_connection((address[0], int(address[1])), timeout=10)
                client.sendall(word)
                answer = b""
                while word not in answer:
                    answer += client.recv(100)
            client.close()
        finally:
            process.terminate()
            assert process.wait(timeout=20) == 0


def test_nothing_is_left_behind(tmp_path):
    with RunningSim(tmp_path, "--channel", "1=const:5", main=COUNTER) as sim:
        pid = sim.process.pid
        children = wait_for(lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        with sim.open() as port:
            read_until(port, b"line")
        code, out, err = sim.stop()
    assert code == 0 and err == ""
    assert not os.path.lexists(sim.link)
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["firmware", "truth.json"]
    truth = json.loads(sim.truth.read_text())
    assert truth["simulated"] is True and truth["clock"] == "CLOCK_MONOTONIC_RAW"
    seconds = (truth["until_host_ns"] - truth["start_host_ns"]) * 1e-9
    assert truth["channels"][1]["energy_j"] == pytest.approx(5 * seconds, rel=1e-6)
    assert len(truth["series"]["energy_j"]) == 4
    assert all(len(column) == len(truth["series"]["host_ns"]) for column in truth["series"]["energy_j"])
    assert json.loads(out)["energy_j"] == [channel["energy_j"] for channel in truth["channels"]]


def test_timers_call_back_while_the_program_runs(tmp_path):
    main = (
        HEAD
        + """
counts = {"once": 0, "often": 0, "never": 0}
def counter(name):
    def count(timer):
        counts[name] += 1
    return count
machine.Timer(-1, mode=machine.Timer.ONE_SHOT, period=20, callback=counter("once"))
often = machine.Timer(period=20, callback=counter("often"))
never = machine.Timer(-1, mode=machine.Timer.PERIODIC, period=30, callback=counter("never"))
never.deinit()
while counts["often"] < 20:
    pass
often.deinit()
seen = counts["often"]
time.sleep_ms(100)
say("counts", counts["once"], counts["never"], counts["often"] == seen)
say("end")
"""
    )
    with RunningSim(tmp_path, main=main) as sim, sim.open() as port:
        said = dict(line.split(" ", 1) for line in lines(port, "end") if " " in line)
    assert said["counts"] == "1 0 True"
