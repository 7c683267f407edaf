"""What a paper's section on reproducibility says of a grid, from the store alone: facts, passages and a checklist."""
