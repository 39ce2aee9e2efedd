"""Tests of mongoosetw."""

from hypothesis import HealthCheck, settings

# How long something takes is the machine's affair, and no test's.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
