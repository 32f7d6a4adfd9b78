"""Turn words into phonemes, and phonemes into ids."""
