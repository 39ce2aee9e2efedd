"""Whole clusters with their users, faults included, replayed exactly from one number.

``python -m tests.simulation 123`` plays seed 123; see :mod:`tests.simulation.__main__`.
"""
