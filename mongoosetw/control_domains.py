"""The commands of ``mongoosectl domain``."""

from typing import TYPE_CHECKING

from mongoosetw.control import Args, Control, required
from mongoosetw.storage.domains import DomainSetting

if TYPE_CHECKING:  # types only
    from mongoosetw.server import Server


class DomainCommands:
    """``domain add|remove|enable|disable|list``."""

    def __init__(self, server: "Server") -> None:
        self._server = server

    def register(self, control: Control) -> None:
        """Put the commands into the table."""
        control.command("domain add")(self.add)
        control.command("domain remove")(self.remove)
        control.command("domain enable")(self.enable)
        control.command("domain disable")(self.disable)
        control.command("domain list")(self.list_all)

    async def add(self, args: Args) -> dict[str, str]:
        """Add a domain of a host type, and serve it."""
        domain, host_type = required(args, "domain"), required(args, "host_type")
        return _describe(await self._server.domains.add(domain, host_type))

    async def remove(self, args: Args) -> dict[str, str]:
        """Remove a domain with all its accounts and data."""
        domain, host_type = required(args, "domain"), args.get("host_type")
        setting = await self._server.domains.remove(domain, host_type)
        return {"domain": setting.domain, "host_type": setting.host_type, "status": "removed"}

    async def enable(self, args: Args) -> dict[str, str]:
        """Serve a domain again."""
        return _describe(await self._server.domains.enable(required(args, "domain")))

    async def disable(self, args: Args) -> dict[str, str]:
        """Serve a domain no longer, and keep its data."""
        return _describe(await self._server.domains.disable(required(args, "domain")))

    async def list_all(self, args: Args) -> list[dict[str, str]]:
        """Return all domains, those of the configuration file first."""
        static = [
            {"domain": domain, "host_type": domain, "status": "configured"}
            for domain in self._server.config.general.hosts
        ]
        added = [_describe(setting) for setting in await self._server.domains.all()]
        wanted = args.get("host_type")
        return [row for row in (*static, *added) if wanted in (None, row["host_type"])]


def _describe(setting: DomainSetting) -> dict[str, str]:
    return {
        "domain": setting.domain,
        "host_type": setting.host_type,
        "status": setting.status.name.lower(),
    }
