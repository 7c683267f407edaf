"""A table as text, one module per format."""
