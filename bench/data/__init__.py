"""Where datasets lie, and the label splits drawn on them. No torch here."""
