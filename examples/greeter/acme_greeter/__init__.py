"""mod_greeter: says hello to everybody who comes online, and counts how often."""

from dataclasses import dataclass

from mongoosetw.api import (
    DOMAIN,
    IQ,
    Counter,
    Module,
    Order,
    Outcome,
    Stanza,
    escape,
    on,
    on_iq,
    option,
    presence,
    users,
)

GREETER = "urn:example:greeter"


@dataclass(frozen=True)
class GreeterOptions:
    """Options of mod_greeter."""

    greeting: str = option("Welcome!", doc="What is said.")


class Greeter(Module[GreeterOptions]):
    """Greets users when they become available.

    How often a user was greeted is kept, and told to whoever asks for the own count.
    """

    name = "mod_greeter"
    options_class = GreeterOptions
    features = (GREETER,)
    greetings = Counter("mod_greeter_greetings_count", "Users greeted")

    def start(self) -> None:
        """Opens the store."""
        self.counts = self.open_keyvalue("counts")

    @on(presence.UserAvailable, Order.LATE)
    async def greet(self, event: presence.UserAvailable) -> Outcome:
        """Says hello and counts it."""
        user = str(event.session.bare)
        await self.counts.set(user, (await self.counts.get(user) or 0) + 1)
        body = f"<body>{escape(self.options.greeting)}</body>"
        greeting = Stanza.make("message", from_=self.host.jid, to=event.session.jid, inner=body)
        event.session.deliver(greeting)
        self.greetings.inc()
        return None

    @on_iq("get", GREETER, "count", to=DOMAIN)
    async def tell(self, iq: IQ) -> str:
        """Answers how often the asker was greeted."""
        count = await self.counts.get(str(iq.from_.bare)) or 0
        return f"<count xmlns='{GREETER}'>{count}</count>"

    @on(users.RemoveUser)
    async def forget(self, event: users.RemoveUser) -> None:
        """A removed account's count goes with it."""
        await self.counts.delete(str(event.user))
