"""Hold the values and the contracts that everything else is built on."""
