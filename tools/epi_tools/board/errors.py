"""What can go wrong on the way to a board."""


class BoardError(Exception):
    """The board cannot do what was asked; the text is one sentence for the user."""


class SnippetError(BoardError):
    """Code that ran on the board raised; `traceback` is what the board printed."""

    def __init__(self, doing: str, traceback: str) -> None:
        lines = traceback.strip().splitlines() or ["no traceback"]
        super().__init__(f"The board could not {doing}: {lines[-1]}.")
        self.traceback = traceback
