"""Measured beside published: the papers' figures, the verdicts, and the lines below."""
