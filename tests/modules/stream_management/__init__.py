"""mod_stream_management."""
