"""Tests of the tables and plots."""
