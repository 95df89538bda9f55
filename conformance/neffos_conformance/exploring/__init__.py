"""Exploration of a live peer: random programs, held against the monitor, and made small."""
