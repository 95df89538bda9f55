"""The suite itself: cases, the language they are written in, who plays them, and the verdicts."""
