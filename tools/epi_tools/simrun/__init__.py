"""Run files from truths that are known: real firmware, real frames and the daemon's own session, at virtual time."""
