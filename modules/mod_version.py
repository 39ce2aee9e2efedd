"""The server's software version (XEP-0092)."""

import platform
from dataclasses import dataclass

from mongoosetw import __version__
from mongoosetw.config.options import option
from mongoosetw.module import DOMAIN, IQ, XEP, Module, on_iq
from mongoosetw.xmpp import ns
from mongoosetw.xmpp.stanza import escape


@dataclass(frozen=True)
class VersionOptions:
    """Options of mod_version."""

    os_info: bool = option(False, doc="Also tell the operating system.")


class Version(Module[VersionOptions]):
    """XEP-0092: Software Version.

    Tells that this is mongoosetw, its version and, if ``os_info`` is on, the operating system.
    """

    name = "mod_version"
    options_class = VersionOptions
    xeps = (XEP(92, "1.1"),)
    features = (ns.VERSION,)

    @on_iq("get", ns.VERSION, "query", to=DOMAIN)
    def version(self, iq: IQ) -> str:
        """Answers with name and version, and the operating system where that is wanted."""
        system = f"<os>{escape(platform.platform())}</os>" if self.options.os_info else ""
        return (
            f"<query xmlns='{ns.VERSION}'><name>mongoosetw</name>"
            f"<version>{escape(__version__)}</version>{system}</query>"
        )
