"""The reference pages of docs/: what they say, and that they say what the code declares."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.config.load import load_text
from mongoosetw.config.options import option
from mongoosetw.docs import found, hooks, modules, xeps
from mongoosetw.docs.markdown import anchor, described, prose, type_name
from mongoosetw.docs.pages import PageUnknown, pages, stale, text, write
from mongoosetw.hooks.c2s import SessionOpened
from mongoosetw.loading import options_of
from mongoosetw.metrics import Counter, Registry
from mongoosetw.module import DOMAIN, IQ, XEP, Module, Needs, command, every, on, on_iq

DOCS = Path(__file__).resolve().parents[2] / "docs"


@dataclass(frozen=True)
class DoorOptions:
    """Options of mod_door."""

    width: int = option(90, minimum=1, unit="cm", doc="How wide.")
    key: str = option(doc="Which key.")


class Door(Module[DoorOptions]):
    """XEP-0199: a door.

    It ``opens``, see :class:`mongoosetw.module.Module`.

    :ivar hinge: not for operators.
    """

    name = "mod_door"
    options_class = DoorOptions
    xeps = (XEP(199, "2.0.1"),)
    features = ("urn:example:door",)
    requires = (Needs("mod_roster"), Needs("mod_presence", hard=False))
    opened = Counter("mod_door_opened_count", "Openings", ("hinge",), registry=Registry())

    @on(SessionOpened, 42)
    def enter(self, event: SessionOpened) -> None:
        """Lets somebody in,
        politely.

        Not shown.
        """

    @on_iq("get", "urn:example:door", "state", to=DOMAIN)
    def tell(self, iq: IQ) -> None:
        """Tells if it is open."""

    @command("knock", "jid", "--times")
    def knock(self, args: dict[str, str]) -> None:
        """Knocks."""

    @every("width")
    def oil(self) -> None:
        """Oils the hinge."""


class FilesTests(SynchronousTestCase):
    """The files below docs/."""

    def test_fresh(self) -> None:
        """The reference pages are what the declarations say: `make docs` writes them."""
        self.assertEqual([str(path) for path in stale(DOCS)], [], "run make docs")

    def test_written_and_removed(self) -> None:
        """Writing makes stale pages fresh and removes those of modules that are gone."""
        folder = Path(self.mktemp())
        write(folder)
        (folder / "hooks.md").write_text("old")
        (folder / "modules" / "mod_gone.md").write_text("old")
        self.assertEqual(len(stale(folder)), 2)
        write(folder)
        self.assertEqual(stale(folder), [])

    def test_links(self) -> None:
        """Every link between pages leads to a page, and to a heading that it has."""
        for name, content in pages():
            for target in re.findall(r"\]\(([^)]+)\)", content):
                if not target.startswith("https://"):
                    self.assertIn(target, set(self.targets(DOCS / name)), f"{name}: {target}")

    def targets(self, page: Path) -> Iterator[str]:
        """All that a page may link to."""
        for path in DOCS.rglob("*.md"):
            link = os.path.relpath(path, page.parent)
            yield link
            for heading in re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE):
                yield f"{link}#{anchor(heading)}"

    def test_examples_load(self) -> None:
        """The example configuration on each module's page is a valid one."""
        for name, cls in found.modules().items():
            (example,) = re.findall(r"```toml\n(.*?)```", modules.page(name, cls), re.DOTALL)
            config = load_text(f'[general]\nhosts = ["localhost"]\n{example}', options_of)
            self.assertIn(name, config.modules)


class ModulePageTests(SynchronousTestCase):
    """The page of a module, here of one that came from elsewhere."""

    def setUp(self) -> None:
        """Renders it."""
        self.page = text(f"{__name__}:Door")

    def test_head(self) -> None:
        """It begins with the name, what the module does, its extensions and needs."""
        self.assertTrue(self.page.startswith("# mod_door\n"))
        self.assertIn("\n\nXEP-0199: a door.\n\nIt `opens`, see `Module`.\n\n", self.page)
        self.assertNotIn("hinge: not", self.page)
        row = "| [XEP-0199](https://xmpp.org/extensions/xep-0199.html) | XMPP Ping | 2.0.1 |"
        self.assertIn(row, self.page)
        needs = "Needs [mod_roster](mod_roster.md). Uses [mod_presence](mod_presence.md) where"
        self.assertIn(needs, self.page)

    def test_options(self) -> None:
        """Options come with values, unit and default; the example shows the defaults."""
        self.assertIn("| `width` | an integer (cm), at least 1 | `90` | How wide. |", self.page)
        self.assertIn("```toml\n[modules.mod_door]\nwidth = 90\n```", self.page)

    def test_declarations(self) -> None:
        """Hooks, requests, features, jobs and metrics are listed with what they are for."""
        for row in (
            "| [SessionOpened](../hooks.md#sessionopened) | 42 | Lets somebody in, politely. |",
            "| get | `<state xmlns='urn:example:door'/>` | the domain | Tells if it is open. |",
            "| `urn:example:door` | the domain |",
            "| option `width` | Oils the hinge. |",
            "| `mongoosectl door knock JID [--times TIMES]` | Knocks. |",
            "| `mod_door_opened_count` | counter | `host_type`, `hinge` | Openings |",
        ):
            self.assertIn(f"\n{row}\n", self.page)

    def test_unknown(self) -> None:
        """A page that does not exist is refused with the reason."""
        error = self.assertRaises(PageUnknown, text, "mod_nonsense")
        self.assertIn("there is no module mod_nonsense", str(error))


class ReferenceTests(SynchronousTestCase):
    """The pages about all modules."""

    def test_hook(self) -> None:
        """A hook tells its fields, whether handlers may wait, and who handles it when."""
        section = hooks.page().partition("### UserAvailable\n")[2].partition("\n### ")[0]
        self.assertIn("Handlers may wait. If one raises, the chain goes on without it.", section)
        self.assertIn("| `session` | `SessionLike` |", section)
        self.assertIn("| 90 | [mod_roster](modules/mod_roster.md) |", section)

    def test_no_hook_twice(self) -> None:
        """Each hook has one section."""
        headings = re.findall(r"^### (.*)$", hooks.page(), re.MULTILINE)
        self.assertEqual(len(headings), len(set(headings)))

    def test_extensions(self) -> None:
        """Extensions of modules and of the core are listed, by number."""
        page = xeps.page()
        ping, external = page.index("XMPP Ping | 2.0.1 | [mod_ping]"), page.index("XEP-0178")
        self.assertIn("`mongoosetw/xmpp/sasl/external.py`", page[external:ping])

    def test_untitled_extension(self) -> None:
        """An extension without a title is a mistake of the programmer, who is told so."""
        with self.assertRaisesRegex(LookupError, "XEP-9999 has no title in .*TITLES"):
            _ = XEP(9999).title


class DocstringTests(SynchronousTestCase):
    """What is taken from docstrings and annotations."""

    def test_fields(self) -> None:
        """What a docstring says of its attributes goes into the table, not into the text."""
        self.assertEqual(described(Door), {"hinge": "not for operators."})
        self.assertTrue(prose(Door).endswith("see `Module`."))

    def test_types(self) -> None:
        """Types are written as in the code, without the names of modules."""
        for annotation, shown in (
            ("Host", "Host"),
            (Door, "Door"),
            (Door | None, "Door | None"),
            (dict[str, Door], "dict[str, Door]"),
        ):
            self.assertEqual(type_name(annotation), shown)
