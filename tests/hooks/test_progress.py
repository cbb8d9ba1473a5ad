"""The bar: on a terminal, once a second, and nowhere else."""

from __future__ import annotations

import io

from hookrun.progress import Bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_once_a_second_and_a_clean_line_at_the_end() -> None:
    stream, now = Terminal(), [0.0]
    bar = Bar(stream, "decoding", "tokens", clock=lambda: now[0])
    for done in range(1, 41):
        now[0] = done / 10
        bar(done, 40)
    bar.clear()
    drawn = stream.getvalue().split("\r")[1:]
    assert [text.split("] ")[-1] for text in drawn[:-1]] == ["10/40 tokens", "20/40 tokens", "30/40 tokens", "40/40 tokens"]
    assert drawn[0].startswith("decoding [#######.")
    assert drawn[-1] == "\x1b[K"


def test_a_file_gets_nothing() -> None:
    stream = io.StringIO()
    bar = Bar(stream, "decoding", "tokens", clock=iter(range(100)).__next__)
    for done in range(5):
        bar(done, 5)
    bar.clear()
    assert stream.getvalue() == ""
