"""Client streams: listener, negotiation, sessions."""
