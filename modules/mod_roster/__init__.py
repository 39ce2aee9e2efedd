"""Rosters and subscriptions (RFC 6121 §2, §3)."""

from modules.mod_roster.module import Roster

__all__ = ["Roster"]
