"""Read addons and wire their stacks."""
