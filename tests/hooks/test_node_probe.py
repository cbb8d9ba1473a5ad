"""Looks at a node made of files, and a firmware made of a script."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from epi_protocol import events
from hookrun.node.probe import NodeProbe
from hookrun.node.processor import Processor, read_processor
from hookrun.node.vcgencmd import Vcgencmd, rails_w, throttled_flags

PMIC = """ 3V7_WL_SW_A current(0)=0.10051310A
   3V3_SYS_A current(1)=0.05000000A
  VDD_CORE_A current(7)=2.00000000A
 3V7_WL_SW_V volt(8)=3.70000000V
   3V3_SYS_V volt(9)=3.30000000V
  VDD_CORE_V volt(15)=0.80000000V
     EXT5V_V volt(24)=5.10000000V
      BATT_V volt(25)=0.00000000V
"""


def firmware(folder: Path, *, pmic: str = PMIC, throttled: str = "throttled=0x50005\n") -> Vcgencmd:
    """A `vcgencmd` that answers two questions and notes what it was asked."""
    script = folder / "vcgencmd.py"
    script.write_text(
        "import pathlib, sys\n"
        f"pathlib.Path({str(folder / 'asked')!r}).open('a').write(sys.argv[1] + '\\n')\n"
        f"answers = {{'pmic_read_adc': {pmic!r}, 'get_throttled': {throttled!r}}}\n"
        "answer = answers.get(sys.argv[1], '')\n"
        "sys.exit('error=1 error_msg=\"Command not registered\"') if not answer else print(answer, end='')\n"
    )
    return Vcgencmd((sys.executable, "-S", str(script)))


def put(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def pi5(tmp_path: Path) -> Path:
    put(
        tmp_path,
        {
            "sys/class/thermal/thermal_zone0/type": "rp1-adc\n",
            "sys/class/thermal/thermal_zone0/temp": "39000\n",
            "sys/class/thermal/thermal_zone1/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone1/temp": "61850\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2400000\n",
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1500000\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "ondemand\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "1500000\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "2400000\n",
            "proc/loadavg": "3.25 1.00 0.50 5/200 1234\n",
            "proc/meminfo": "MemTotal:  8000000 kB\nMemFree: 1 kB\nMemAvailable:    6000000 kB\n",
        },
    )
    return tmp_path


def test_everything_a_pi_tells_is_read(pi5: Path) -> None:
    readings = NodeProbe(pi5 / "sys", pi5 / "proc", firmware(pi5)).read()
    assert readings == {
        "temperature_c": 61.85,
        "cpu_hz": 1.5e9,
        "throttled": 0x50005,
        "load": 3.25,
        "memory_available_bytes": 6_000_000 * 1024,
        "rail_3V7_WL_SW_w": pytest.approx(0.10051310 * 3.7),
        "rail_3V3_SYS_w": pytest.approx(0.165),
        "rail_VDD_CORE_w": pytest.approx(1.6),
    }
    assert events.readings({"run": "r", "node_ns": 1, "readings": readings}) == readings


def test_the_kernel_is_asked_for_the_flags_before_the_firmware(pi5: Path) -> None:
    put(pi5, {"sys/devices/platform/soc/soc:firmware/get_throttled": "80008\n"})
    assert NodeProbe(pi5 / "sys", pi5 / "proc", firmware(pi5)).read()["throttled"] == 0x80008
    assert (pi5 / "asked").read_text() == "pmic_read_adc\n"


def test_what_a_machine_does_not_tell_is_left_out_and_not_asked_again(tmp_path: Path) -> None:
    probe = NodeProbe(tmp_path / "sys", tmp_path / "proc", firmware(tmp_path, pmic="", throttled=""))
    assert probe.read() == probe.read() == {}
    assert sorted((tmp_path / "asked").read_text().split()) == ["get_throttled", "pmic_read_adc"]
    assert NodeProbe(tmp_path, tmp_path, Vcgencmd((str(tmp_path / "no-such-command"),))).read() == {}


@pytest.mark.parametrize("text", ["", "unknown", "<unset> 5"])
def test_files_that_hold_no_number_are_left_out(pi5: Path, text: str) -> None:
    put(pi5, {"sys/devices/platform/soc/soc:firmware/get_throttled": text})
    for name in ("sys/class/thermal/thermal_zone1/temp", "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "proc/loadavg"):
        put(pi5, {name: text})
    put(pi5, {"proc/meminfo": f"MemAvailable: {text}"})
    readings = NodeProbe(pi5 / "sys", pi5 / "proc", firmware(pi5)).read()
    assert not {"temperature_c", "throttled", "load", "memory_available_bytes"} & readings.keys()
    assert readings["cpu_hz"] == 2.4e9  # of the core that tells it


def test_a_zone_of_another_name_is_better_than_none(tmp_path: Path) -> None:
    put(tmp_path, {"class/thermal/thermal_zone3/type": "chip\n", "class/thermal/thermal_zone3/temp": "-1500\n"})
    assert NodeProbe(tmp_path, tmp_path, firmware(tmp_path)).temperature_c() == -1.5


@pytest.mark.parametrize("text", ["", "VCHI initialization failed", "throttled=", "throttled=maybe"])
def test_answers_without_a_number_are_none(text: str) -> None:
    assert throttled_flags(text) is None
    assert rails_w(text) == {}


def test_the_processors_state_and_what_spoils_a_comparison(pi5: Path) -> None:
    put(pi5, {"sys/devices/system/cpu/cpufreq/boost": "1\n"})
    processor = read_processor(pi5 / "sys", throttled=0x50005)
    assert processor == Processor(("ondemand",), turbo=True, min_hz=1.5e9, max_hz=2.4e9, throttled=0x50005)
    governor, throttled = processor.warnings()
    assert "governor ondemand" in governor
    assert "0x50005" in throttled
    assert processor.to_map()["governors"] == ["ondemand"]


def test_a_fixed_clock_and_old_flags_are_no_reason_to_warn(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
            "devices/system/cpu/intel_pstate/no_turbo": "1\n",
        },
    )
    processor = read_processor(tmp_path, throttled=0x50000)  # has throttled since boot, does not now
    assert (processor.governors, processor.turbo, list(processor.warnings())) == (("performance",), False, [])
    assert list(Processor(("ondemand",), None, 1.5e9, 1.5e9, None).warnings()) == []
    assert read_processor(tmp_path / "nothing") == Processor((), None, None, None, None)
