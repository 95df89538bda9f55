"""The state tables, proved: a Promela model made from them, searched by SPIN.

``promela.py`` writes the model, ``configurations.py`` has its sizes, ``faults.py`` tables with one
wrong row, and ``trails.py`` makes recordings of counterexamples. None of it is in the wheel.
"""
