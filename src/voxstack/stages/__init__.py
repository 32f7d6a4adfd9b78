"""Hold the blocks, a folder a stage, in the order of the flow."""
