"""The spec: a grid file, the recipe's sections, and the cells that they expand into."""
