"""Progress bars on stderr, only where a person watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import click

# Opens a bar of a label and a length, and yields the function that advances it.
Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@contextmanager
def bar(label: str, length: int) -> Iterator[Callable[[int], None]]:
    """Show a bar of `length` units while the block runs; yields the function that advances it."""
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=length, label=label.ljust(24), file=sys.stderr, hidden=hidden) as shown:
        yield shown.update
