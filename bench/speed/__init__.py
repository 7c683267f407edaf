"""How fast cells are on this machine, and where a step's time goes."""
