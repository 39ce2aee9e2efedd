"""What holds for every module that comes with the server, however many there are."""

import re
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, get_args, get_type_hints

from mongoosetw.config.load import ModuleConfig, load_text
from mongoosetw.config.options import options_of as declared_options
from mongoosetw.config.reading import without_none
from mongoosetw.hooks.users import RemoveDomain, RemoveUser
from mongoosetw.loading import (
    find,
    options_of,
    reload_modules,
    shipped,
    start_modules,
    stop_modules,
)
from mongoosetw.metrics import REGISTRY
from mongoosetw.module import HookDeclaration, Module
from mongoosetw.testing.server import ServerTestCase
from mongoosetw.xmpp import ns

ROOT = Path(__file__).resolve().parents[2]
PING = f"<iq type='get' id='still' to='localhost'><ping xmlns='{ns.PING}'/></iq>"


def needed(name: str) -> list[str]:
    """The modules that a module cannot do without, those first that others need."""
    found: list[str] = []
    for need in find(name).requires:
        if need.hard:
            found += [other for other in (*needed(need.name), need.name) if other not in found]
    return found


def configured(name: str) -> Any:
    """A module's options as its page shows them: the defaults, and its ``example``."""
    text = f'[general]\nhosts = ["localhost"]\n[modules.{name}]\n{find(name).example}'
    return load_text(text, options_of).modules[name].options


def others(options: Any) -> Any:
    """The options with everything switched that can be on or off, or one thing or another."""
    changes: dict[str, Any] = {}
    for item in fields(options):
        info, value = item.metadata["option"], getattr(options, item.name)
        if isinstance(value, bool):
            changes[item.name] = not value
        elif info.choices and not isinstance(value, tuple):
            changes[item.name] = next((c for c in info.choices if c != value), value)
    return replace(options, **changes)


class ModuleContract(ServerTestCase):
    """One module; the classes that run are made below.

    :cvar module: its name.
    """

    module: ClassVar[str]

    def setUp(self) -> None:
        """Has what the server opens for the first module that asks, and keeps, open already."""
        super().setUp()
        self.await_(self.host.open_message_log())
        self.host.hooks.publish()

    @property
    def cls(self) -> type[Module[Any]]:
        """The module's class."""
        return find(self.module)

    def start(self, options: Any) -> None:
        """Starts it."""
        self.await_(start_modules(self.host, {self.module: ModuleConfig(self.module, options)}))

    def traces(self) -> dict[str, Any]:
        """All that a module may leave behind."""
        self.settle()
        gauges = {
            sample.name: sample.labels
            for family in REGISTRY.collect()
            if family.type == "gauge"
            for sample in family.samples
        }
        return {
            "hooks": self.host.hooks.describe(),
            "global hooks": self.server.hooks.describe(),
            "iq handlers": sorted(self.host.iq_handlers),
            "routes": [entry[:2] for entry in self.server.router._routes],
            "calls": sorted(str(call.func) for call in self.clock.getDelayedCalls()),
            "modules": list(self.host.modules),
            "gauges": gauges,
        }

    def test_leaves_nothing(self) -> None:
        """Started and stopped, also with a client there, it leaves no trace but its data."""
        options = configured(self.module)
        for chosen in (options, others(options)):
            romeo = self.connect("romeo@localhost/a")
            before = self.traces()
            self.start(chosen)
            self.assertIn(self.module, self.host.modules)
            juliet = self.connect("juliet@localhost/b")
            for client in (romeo, juliet):
                client.send("<presence/>")
            juliet.send("</stream:stream>")
            self.await_(stop_modules(self.host, [self.module]))
            self.assertEqual(self.traces(), before)
            romeo.send("</stream:stream>")
            self.settle()

    def test_reload_keeps_sessions(self) -> None:
        """With other options after a reload, clients are connected and answered as before."""
        romeo = self.connect("romeo@localhost/a")
        options = configured(self.module)
        self.start(options)
        romeo.send("<presence/>")
        (session,) = self.host.sessions
        running = {self.module: ModuleConfig(self.module, options)}
        for chosen in (others(options), options):
            wanted = {self.module: ModuleConfig(self.module, chosen)}
            self.await_(reload_modules(self.host, running, wanted))
            running = wanted
            self.assertEqual(list(self.host.sessions), [session])
            self.assertIn(romeo.request(PING).type, ("result", "error"))
        self.assertFalse(romeo.transport.closed)

    def test_options(self) -> None:
        """Every option says what it is for, and its class whose options they are."""
        self.check_options(self.cls.options_class)

    def check_options(self, cls: type[Any]) -> None:
        """Checks a table of options and those in it."""
        doc = cls.__doc__ or ""
        self.assertFalse(doc.startswith(f"{cls.__name__}("), f"{cls.__name__} has no docstring")
        hints = get_type_hints(cls)
        for name, info in declared_options(cls).items():
            self.assertRegex(info.doc, r"(?s)^.{10,}[.:…]$", f"{cls.__name__}.{name}")
            for hint in (without_none(hints[name]), *get_args(without_none(hints[name]))):
                if isinstance(hint, type) and is_dataclass(hint):
                    self.check_options(hint)

    def test_required_options_have_an_example(self) -> None:
        """A module that cannot run without configuration shows one that can."""
        for item in fields(self.cls.options_class):
            if item.default is MISSING and item.default_factory is MISSING:
                self.assertIn(item.name, self.cls.example, "set the class's attribute `example`")

    def test_declarations(self) -> None:
        """Each handler and job says what it does, for the module's page and `hooks`."""
        for method, _ in self.cls.declarations():
            self.assertTrue(getattr(self.cls, method).__doc__, method)

    def test_forgets_domains(self) -> None:
        """What removes its data of an account removes that of a whole domain, too."""
        declared = [d for _, d in self.cls.declarations() if isinstance(d, HookDeclaration)]
        hooks = {declaration.hook for declaration in declared}
        self.assertTrue(RemoveUser not in hooks or RemoveDomain in hooks)

    def test_extensions(self) -> None:
        """An extension that the module's docstrings begin with is declared, all with versions."""
        package = __import__(f"modules.{self.module}", fromlist=["x"])
        texts = [(doc or "").partition("\n\n")[0] for doc in (self.cls.__doc__, package.__doc__)]
        named = {int(n) for text in texts for n in re.findall(r"XEP-(\d{4})", text)}
        self.assertLessEqual(named, {xep.number for xep in self.cls.xeps})
        for xep in self.cls.xeps:
            self.assertTrue(xep.title and xep.version, str(xep))

    def test_described(self) -> None:
        """It has a page of the reference, which says more than its name."""
        self.assertTrue((ROOT / "docs" / "modules" / f"{self.module}.md").exists())
        self.assertGreater(len(self.cls.__doc__ or ""), 80, "say more in the class's docstring")

    def test_tested(self) -> None:
        """It has tests of its own."""
        texts = (path.read_text() for path in (ROOT / "tests" / "modules").rglob("test_*.py"))
        self.assertTrue(any(f'"{self.module}"' in text for text in texts))


for _name in shipped():
    _case = f"{_name}_Tests"
    _needed = {other: {} for other in needed(_name)}
    globals()[_case] = type(
        _case,
        (ModuleContract,),
        {"module": _name, "modules": _needed, "__doc__": f"{_name}.", "__module__": __name__},
    )
del ModuleContract
