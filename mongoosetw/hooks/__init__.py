"""The hook bus, and the hooks that modules may handle, by theme."""
