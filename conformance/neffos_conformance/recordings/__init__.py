"""Recordings of neffos sessions: made, checked, shown, replayed and imported."""
