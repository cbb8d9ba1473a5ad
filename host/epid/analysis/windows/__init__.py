"""Energy of requests, phases and tokens, and whether the parts add up to what was metered."""
