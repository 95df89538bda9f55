"""Programs to start from, which ``neffos-wire new`` writes."""
