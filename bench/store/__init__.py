"""The run store: one directory per cell, whose files are the truth about it. No torch here."""
