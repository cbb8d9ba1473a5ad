"""The way of the spans: `ring` (written by the thread that measures) → `courier` (the thread that sends) → daemon and file.

For the daemon, `session` holds the conversation, `backlog` and `outbox` what is not known to have arrived, `link` the socket;
`eventfile` is for a node without one. `recording` holds both ends of a run together: all that a measuring program needs to know.
"""
