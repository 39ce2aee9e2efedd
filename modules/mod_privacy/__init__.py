"""Privacy lists (XEP-0016)."""

from modules.mod_privacy.checks import PrivacyOptions
from modules.mod_privacy.module import Privacy, own_session

__all__ = ["Privacy", "PrivacyOptions", "own_session"]
