"""Change samples: loudness, effects."""
