"""Turn mels into samples."""
