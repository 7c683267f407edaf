"""Loss functions: pure functions of tensors, each tested against a plain reference."""
