"""Stand-ins for the other end of a wire, made from the protocol's own tables."""
