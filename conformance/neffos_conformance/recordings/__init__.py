"""Recordings of neffos sessions: made, checked, shown, replayed and imported."""

from neffos_protocol._sources import choose

choose(__path__[0])
