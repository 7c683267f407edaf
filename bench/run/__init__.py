"""One attempt at a cell, and the processes of this machine that make attempts."""
