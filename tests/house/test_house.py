"""Laws of the house that no single room can keep: what imports load, what the wire's document says, what the shelves hold."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from epi_protocol import spec

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("protocol", "host", "hooks", "surgery", "tools")


def loaded_by(statement: str) -> set[str]:
    """Names of the modules in a fresh interpreter after a statement."""
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import hookrun, hookrun.cli", {"torch", "numpy", "click", "llama_cpp"}),
        ("import epid.cli, epid.daemon.client", {"torch", "numpy", "plotly", "mcap"}),
        ("import epi_protocol.frame, epi_protocol.messages", {"typing", "dataclasses", "msgpack", "zmq"}),
        ("import epi_surgery.cli", {"torch", "llama_cpp", "serial", "zmq"}),
    ],
)
def test_what_an_import_must_not_load(statement, absent):
    assert not loaded_by(statement) & absent


def test_the_wires_document_is_what_the_source_says():
    text = (ROOT / "protocol" / "SPEC.md").read_text(encoding="utf-8")
    assert spec.update(text) == text, "run `python -m epi_protocol.spec protocol/SPEC.md`"


def test_the_import_laws_are_kept():
    where = os.environ | {"PYTHONPATH": str(ROOT / "firmware")}
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter], cwd=ROOT, env=where, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("room", ROOMS)
def test_every_dependency_says_why_and_is_bounded(room):
    path = ROOT / room / "pyproject.toml"
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    bounded = {bare_name(line) for line in constraints() if "==" in line}
    lines = path.read_text(encoding="utf-8").splitlines()
    extras = [name for group in project.get("optional-dependencies", {}).values() for name in group]
    for name in project["dependencies"] + extras:
        assert any(f'"{name}"' in line and "#" in line for line in lines), f"{room}: {name} without a reason"
        assert bare_name(name).startswith("epi") or bare_name(name) in bounded, f"{name} is not in constraints.txt"


def bare_name(requirement: str) -> str:
    """`Foo[bar]>=1; marker` without everything but the name, in lower case."""
    return re.split(r"[\s\[<>=!~;]", requirement.strip(), maxsplit=1)[0].lower()


def constraints() -> list[str]:
    return (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("folder", ["firmware", "host", "hooks", "surgery", "protocol", "tools", "tests"])
def test_no_file_is_longer_than_one_noun(folder):
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / folder).rglob("*.py")
        if "build" not in path.parts and (lines := len(path.read_text(encoding="utf-8").splitlines())) > 350
    }
    assert not long
