"""Let voices be heard over the network: a protocol a file."""
