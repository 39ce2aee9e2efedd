"""The `twistd mongoose` command.

Only names here: twistd imports every plugin file to list its commands.
"""

from twisted.application.service import ServiceMaker

mongoose = ServiceMaker(
    "mongoosetw",
    "mongoosetw.tap",
    "A modular XMPP server.",
    "mongoose",
)
