"""Change samples: loudness, effects; and look at what flows: diagnostics."""
