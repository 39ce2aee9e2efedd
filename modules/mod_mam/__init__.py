"""Message archives (XEP-0313) of users, as views on the message log."""

from modules.mod_mam.module import MAM

__all__ = ["MAM"]
