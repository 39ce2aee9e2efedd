"""Examples for module authors."""
