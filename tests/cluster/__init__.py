"""Tests of nodes and their links."""
