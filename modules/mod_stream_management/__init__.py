"""XEP-0198: Stream Management."""

from modules.mod_stream_management.module import StreamManagement

__all__ = ["StreamManagement"]
