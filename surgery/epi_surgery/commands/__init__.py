"""One module per command: options in, the work called, a summary out."""
