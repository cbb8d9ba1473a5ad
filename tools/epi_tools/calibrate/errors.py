"""What can go wrong in a calibration."""


class CalibrationError(Exception):
    """The calibration cannot go on; the text is one sentence for the user, and says whether anything was written."""
