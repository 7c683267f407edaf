"""Measurements of speed and memory, each against a reference in the same run; ``make bench`` runs them all."""

from bench.machine import let_threads_sleep

let_threads_sleep()  # before torch is imported: as in every run
