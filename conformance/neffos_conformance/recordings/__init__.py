"""Recordings of neffos sessions: made, judged, shown, replayed and imported."""
