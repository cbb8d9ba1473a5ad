"""The command `epi-surgery`."""

import click

from epi_surgery import __version__
from epi_surgery.commands.bench import bench
from epi_surgery.commands.cut import cut
from epi_surgery.commands.eval import evaluate
from epi_surgery.commands.export import export
from epi_surgery.commands.heal import heal
from epi_surgery.commands.matrix import matrix
from epi_surgery.commands.plan import plan
from epi_surgery.commands.probe import probe
from epi_surgery.commands.rank import rank
from epi_surgery.commands.scores import scores
from epi_surgery.commands.show import show
from epi_surgery.errors import SurgeryError

TORCH_SIDE = ("torch", "transformers", "safetensors", "accelerate", "matplotlib")


class SurgeryGroup(click.Group):
    """A command group that turns expected failures into one sentence and exit status 1."""

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


for command in (show, rank, scores, plan, cut, matrix, probe, export, evaluate, heal, bench):
    main.add_command(command)
