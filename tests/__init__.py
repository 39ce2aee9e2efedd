"""Tests of mongoosetw."""
