"""The server's time (XEP-0202)."""

from datetime import UTC, datetime

from mongoosetw.module import DOMAIN, IQ, XEP, Module, NoOptions, on_iq
from mongoosetw.xmpp import ns


class Time(Module[NoOptions]):
    """XEP-0202: Entity Time.

    Tells the server's time in UTC, and its time zone.
    """

    name = "mod_time"
    xeps = (XEP(202, "2.0"),)
    features = (ns.TIME,)

    @on_iq("get", ns.TIME, "time", to=DOMAIN)
    def tell(self, iq: IQ) -> str:
        """Answers with the time in UTC and the server's offset from it (XEP-0082 formats)."""
        now = datetime.now(UTC)
        offset = now.astimezone().strftime("%z")
        return (
            f"<time xmlns='{ns.TIME}'><tzo>{offset[:3]}:{offset[3:5]}</tzo>"
            f"<utc>{now:%Y-%m-%dT%H:%M:%SZ}</utc></time>"
        )
