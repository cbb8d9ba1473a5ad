"""A run file read, and its meters and nodes placed on the host's one clock."""
