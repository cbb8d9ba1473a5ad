"""The options for models larger than the device, shared by the commands that compute with the whole model."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from epi_surgery.errors import SurgeryError

if TYPE_CHECKING:
    from epi_surgery.model.offload import Offload

_GIB = 1 << 30
Command = Callable[..., Any]

_OPTIONS = (
    click.option("--offload", type=click.Path(path_type=Path), help="Folder for layers of a model larger than the device."),
    click.option(
        "--device", default="cpu", show_default=True, metavar="cpu|N", help="With --offload: where layers are computed."
    ),
    click.option("--device-gib", type=float, default=8.0, show_default=True, help="With --offload: what that device may hold."),
    click.option("--memory-gib", type=float, default=8.0, show_default=True, help="With --offload: what main memory may hold."),
)


def offload_options(command: Command) -> Command:
    """Add them, in this order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def offload_of(options: Mapping[str, Any]) -> "Offload | None":
    """What they say together; None where nothing is to be offloaded."""
    from epi_surgery.model.offload import Offload

    if options["offload"] is None:
        return None
    device = options["device"] if options["device"] == "cpu" else _device_number(options["device"])
    return Offload(options["offload"], device, int(options["device_gib"] * _GIB), int(options["memory_gib"] * _GIB))


def _device_number(text: str) -> int:
    if not text.isdigit():
        raise SurgeryError(f"--device takes cpu or the number of an accelerator, not '{text}'")
    return int(text)
