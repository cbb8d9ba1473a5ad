"""The node itself: what surrounds a run on it (`conditions`), and what is read from it meanwhile (`telemetry`, `probe`)."""
