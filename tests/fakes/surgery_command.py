"""`epi-surgery` as a person calls it, in this process."""

from click.testing import CliRunner

from epi_surgery.cli import main


def run(*words):
    """Call it with these words; return its exit code and output."""
    return CliRunner().invoke(main, [str(word) for word in words])


def refused(result, *words):
    """Assert that it ended with one sentence, in which all of `words` stand."""
    assert result.exit_code == 1, result.output
    assert result.output.startswith("Error: ") and result.output.count("\n") == 1
    for word in words:
        assert word in result.output
