"""Public test kit for module authors: the real server over memory transports."""
