"""Tables and plots from the files of a run store. Nothing here imports torch, a method or a dataset."""
