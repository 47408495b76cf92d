"""The real drivers, operations and retries on a simulated network, server and clock, all from one seed.

``python -m tests.simulation.run --help`` runs many; a failing seed prints itself, and replays exactly.
"""
