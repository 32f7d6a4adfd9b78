"""Cut, clean and normalise text."""
