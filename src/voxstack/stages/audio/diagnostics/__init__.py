"""Look at what flows through a stack, at any place in it, without changing it."""
