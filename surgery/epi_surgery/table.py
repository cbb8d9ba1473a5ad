"""Aligned plain text: a name, then its value."""

from collections.abc import Sequence

Row = tuple[str, str]


def aligned(rows: Sequence[Row]) -> str:
    """Rows as lines, the values starting in one column."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}".rstrip() for name, value in rows)


def percent(share: float) -> str:
    """A share with two decimals."""
    return f"{100 * share:.2f} %"


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as runs: 0-3, 5, 7-9."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
