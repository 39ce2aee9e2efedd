"""Writes the reference pages of docs/ from what the code declares.

``python -m mongoosetw.docs`` writes them (``make docs``), with ``--check`` it names those that are
stale. ``mongoosectl docs PAGE`` prints one, also that of a module in another package.
"""
