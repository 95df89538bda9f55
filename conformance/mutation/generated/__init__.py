"""Generated mutants: operators and triggers as values, an oracle, and a score."""
