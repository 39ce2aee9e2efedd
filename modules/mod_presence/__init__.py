"""Presence (RFC 6121 §4)."""

from modules.mod_presence.module import Presence

__all__ = ["Presence"]
