"""Kills servers and databases under load, and proves that nothing acknowledged is lost."""
