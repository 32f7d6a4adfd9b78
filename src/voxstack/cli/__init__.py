"""Offer the command line, a command a file."""
