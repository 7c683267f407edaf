"""Official archives in, verified files out."""
