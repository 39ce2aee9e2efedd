"""The commands that modules declare: ``mongoosectl mam stats alice@localhost``."""

from typing import TYPE_CHECKING, Any

from mongoosetw.control import Args, CommandError, Control, required
from mongoosetw.module import CommandDeclaration, Module
from mongoosetw.xmpp.jid import JID, InvalidJID

if TYPE_CHECKING:  # types only
    from mongoosetw.server import Server


class ModuleCommands:
    """``MODULE ACTION ARGUMENT…``, for every running module that has commands."""

    def __init__(self, server: "Server") -> None:
        self._server = server

    def register(self, control: Control) -> None:
        """Put the command into the table."""
        control.command("module")(self.run)

    async def run(self, args: Args) -> Any:
        """Run a module's command: on the account's or domain's host, or on every host."""
        name, words = required(args, "module"), [str(word) for word in args.get("words", [])]
        running = self._running(f"mod_{name}")
        if not running:
            raise CommandError(f"there is no command {name!r}, and no module mod_{name} runs")
        method, declaration = _find(type(running[0]), name, words[:1])
        values = _arguments(declaration, f"{name} {declaration.name}", words[1:])
        chosen = [module for module in running if _concerned(module, values)]
        if not chosen:
            raise CommandError(f"mod_{name} does not run on the domain that is named")
        answers = {}
        for module in chosen:
            result = getattr(module, method)(values)
            answers[module.host.domain] = await result if hasattr(result, "__await__") else result
        return next(iter(answers.values())) if "jid" in values else answers

    def _running(self, name: str) -> list[Module[Any]]:
        hosts = self._server.hosts.values()
        return [host.modules[name] for host in hosts if name in host.modules]


def _find(cls: type[Module[Any]], name: str, words: list[str]) -> tuple[str, CommandDeclaration]:
    found = {
        declaration.name: (method, declaration)
        for method, declaration in cls.declarations()
        if isinstance(declaration, CommandDeclaration)
    }
    if words and words[0] in found:
        return found[words[0]]
    usage = "; ".join(f"{name} {declaration.usage}" for _, declaration in found.values())
    raise CommandError((usage and f"usage: {usage}") or f"mod_{name} has no commands")


def _arguments(declaration: CommandDeclaration, name: str, words: list[str]) -> Args:
    """Sorts words by the declaration: positions first, ``--name value`` anywhere."""
    values: Args = {}
    places = [p for p in declaration.parameters if not p.startswith("--")]
    options = {p.removeprefix("--") for p in declaration.parameters if p.startswith("--")}
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            option, _, value = word.removeprefix("--").partition("=")
            if option not in options:
                raise CommandError(f"{name} has no option --{option}")
            values[option] = value or next(rest, "")
        elif places:
            values[places.pop(0).rstrip("?")] = word
        else:
            raise CommandError(f"{name}: {word!r} is too much")
    missing = [place for place in places if not place.endswith("?")]
    if missing:
        raise CommandError(f"{name}: {missing[0]} is missing")
    return values


def _concerned(module: Module[Any], values: Args) -> bool:
    """Whether a command is for a module's host.

    :raises CommandError: an address is malformed.
    """
    try:
        if "jid" in values:
            return JID.parse(values["jid"]).domain == module.host.domain
        return "domain" not in values or str(JID.parse(values["domain"])) == module.host.domain
    except InvalidJID as error:
        raise CommandError(f"no address: {error}") from None
