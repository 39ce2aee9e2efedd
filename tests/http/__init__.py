"""Tests of mongoosetw.http."""
