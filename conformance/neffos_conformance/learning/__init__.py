"""Active automata learning: the state machine that a peer has, beside the specification's."""
