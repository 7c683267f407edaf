"""Methods: one file per method; what methods share lies in `networks/`, `losses/`, `mixing.py` and `ema.py`."""
