"""What a tuned grid's trials say: in tables, frames and descriptions, as a ranking, and as a curve over the budget."""
