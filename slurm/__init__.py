"""Submission to Slurm through submitit, profiles, and a test cluster on one machine."""
