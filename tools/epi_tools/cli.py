"""`epi`: the commands of the bench. Each is imported only when it is called."""

from importlib import import_module

import click

COMMANDS = {
    "calibrate": ("epi_tools.calibrate.command", "calibrate", "Find a channel's errors against a reference, and correct them."),
    "campaign": ("epi_tools.campaign.command", "campaign", "Run all models of an experiment, interleaved, from one file."),
    "demo": ("epi_tools.demo.command", "demo", "The main job from end to end, on a simulated meter."),
    "flash": ("epi_tools.flash.command", "flash", "Put the firmware on a meter board, with a way back."),
    "sim-run": ("epi_tools.simrun.command", "sim_run", "Write run files whose truth is known, faster than real time."),
    "sim": ("epi_tools.sim.command", "sim", "Run the real firmware on simulated meter chips."),
}


class LazyGroup(click.Group):
    """Knows its commands by name and place."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in self.list_commands(ctx)])


@click.command(cls=LazyGroup)
@click.version_option(package_name="epi-tools")
def epi() -> None:
    """Tools around the energy meter. `epi COMMAND --help` says more."""
