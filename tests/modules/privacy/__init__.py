"""mod_privacy and mod_blocking."""
