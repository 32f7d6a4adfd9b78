"""Run nets, an engine a file."""
