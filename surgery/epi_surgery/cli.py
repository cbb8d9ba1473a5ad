"""The command `epi-surgery`."""

from importlib import import_module

import click

from epi_surgery import __version__
from epi_surgery.errors import SurgeryError

# In the order of the help; imported only when asked for, since a cut takes little longer than its imports.
COMMANDS = {
    name: name for name in ("show", "rank", "scores", "plan", "refine", "cut", "matrix", "probe", "export", "heal", "bench")
}
COMMANDS["eval"] = "evaluate"  # the function, lest it hide Python's own
TORCH_SIDE = ("torch", "transformers", "safetensors", "accelerate", "matplotlib")


class SurgeryGroup(click.Group):
    """Commands from modules of their names; expected failures become one sentence and exit status 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(f"epi_surgery.commands.{name}"), COMMANDS[name])
        return found

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except SurgeryError as error:
            raise click.ClickException(str(error)) from error
        except ModuleNotFoundError as error:
            if error.name not in TORCH_SIDE:
                raise
            raise click.ClickException(
                f"this needs {error.name}, which is not installed: pip install torch, then epi-surgery[torch]"
            ) from error
        except OSError as error:
            raise click.ClickException(f"{error.filename or 'the files'}: {(error.strerror or str(error)).lower()}") from error


@click.group(cls=SurgeryGroup)
@click.version_option(__version__)
def main() -> None:
    """Cut attention heads out of a model and prove the cut.

    \b
    epi-surgery show model.gguf
    epi-surgery rank model.gguf --text book.txt --out scores.json
    epi-surgery plan model.gguf --scores scores.json --fraction 0.33 --layout groups --uniform --out plan.json
    epi-surgery cut model.gguf plan.json --out cut.gguf
    """
