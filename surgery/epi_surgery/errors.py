"""What can go wrong, each said in one sentence that a user can act on."""


class SurgeryError(Exception):
    """Bad input or a failed check; its text is the whole message, ready to be shown."""


class NotAGguf(SurgeryError):
    """The file is not a GGUF, or a damaged one."""


class UnsupportedModel(SurgeryError):
    """A GGUF whose attention is not plain Llama-shaped; the text names the tensor or key."""


class BadPlan(SurgeryError):
    """The plan file is malformed, belongs to another model, or asks for what no engine runs."""


class ProofFailed(SurgeryError):
    """The cut model does not compute what the masked original does, or could not be run."""
