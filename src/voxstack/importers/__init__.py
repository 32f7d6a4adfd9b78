"""Turn public checkpoints into addons, a model family a file."""
