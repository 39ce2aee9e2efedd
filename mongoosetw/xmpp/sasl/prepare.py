"""Preparation of passwords: SASLprep (RFC 4013), OpaqueString (RFC 8265) for newer characters."""

import stringprep
import unicodedata
from collections.abc import Callable
from typing import Final

from precis_i18n import get_profile

__all__ = ["InvalidPassword", "prepare_password"]

_PROHIBITED: Final[tuple[Callable[[str], bool], ...]] = (
    # RFC 4013 §2.3
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)
_opaque = get_profile("OpaqueString")


class InvalidPassword(ValueError):
    """A password that is empty or has characters that no client may send."""


def prepare_password(text: str) -> str:
    """The form of a password from which keys are derived; raises InvalidPassword.

    SASLprep, because that is what SCRAM clients apply (RFC 5802 §2.2). It knows only Unicode 3.2:
    a password that it refuses (an emoji, for example) is prepared by its successor, OpaqueString.
    """
    if not text:
        raise InvalidPassword("a password must not be empty")
    if text.isascii() and text.isprintable():
        return text
    prepared = _saslprep(text)
    if prepared is not None:
        return prepared
    try:
        return str(_opaque.enforce(text))
    except ValueError:
        # The cause shows the password's characters: it must not travel along.
        raise InvalidPassword("the password has characters that are not allowed") from None


def _saslprep(text: str) -> str | None:
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char
        for char in text
        if not stringprep.in_table_b1(char)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not prepared or any(check(char) for char in prepared for check in _PROHIBITED):
        return None
    return prepared if _bidi_allowed(prepared) else None


def _bidi_allowed(text: str) -> bool:
    # RFC 3454 §6
    if not any(map(stringprep.in_table_d1, text)):
        return True
    if any(map(stringprep.in_table_d2, text)):
        return False
    return stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
