"""Cut a Loop over frames into what stands before it, its step, and what stands behind it."""
