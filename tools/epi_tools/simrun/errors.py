"""What can go wrong with a truth."""


class TruthError(ValueError):
    """A truth or its spans cannot be used; the text is one sentence that says what, where and what to do."""
