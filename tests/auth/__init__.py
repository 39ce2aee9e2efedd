"""Tests of accounts and passwords."""
