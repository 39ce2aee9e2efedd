"""mod_greeter: says hello to everybody who comes online, and counts how often.

The example of the tutorial: an option, a hook, an iq handler and a stored value.
"""

from dataclasses import dataclass

from mongoosetw.api import (
    DOMAIN,
    IQ,
    Module,
    Order,
    Outcome,
    Stanza,
    escape,
    on,
    on_iq,
    option,
    presence,
)

GREETER = "urn:example:greeter"


@dataclass(frozen=True)
class GreeterOptions:
    """Options of mod_greeter."""

    greeting: str = option("Welcome!", doc="What is said.")


class Greeter(Module[GreeterOptions]):
    """Greets users when they become available."""

    name = "mod_greeter"
    options_class = GreeterOptions
    features = (GREETER,)

    @on(presence.UserAvailable, Order.LATE)
    async def greet(self, event: presence.UserAvailable) -> Outcome:
        """Says hello and counts it."""
        user = event.session.bare
        counts = self.open_keyvalue("greetings")
        count = (await counts.get(str(user)) or 0) + 1
        await counts.set(str(user), count)
        body = f"<body>{escape(self.options.greeting)}</body>"
        event.session.deliver(
            Stanza.make("message", from_=self.host.jid, to=event.session.jid, inner=body)
        )
        return None

    @on_iq("get", GREETER, "count", to=DOMAIN)
    async def tell(self, iq: IQ) -> str:
        """Answers how often the asker was greeted."""
        count = await self.open_keyvalue("greetings").get(str(iq.from_.bare)) or 0
        return f"<count xmlns='{GREETER}'>{count}</count>"
