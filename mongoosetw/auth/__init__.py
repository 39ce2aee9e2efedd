"""Accounts and passwords: the chain of authentication methods, and the back ends behind it."""
