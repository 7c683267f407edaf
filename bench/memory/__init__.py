"""What training costs in memory: measured per phase, swept over a loss's settings, and predicted without the hardware."""
