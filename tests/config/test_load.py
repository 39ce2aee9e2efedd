"""Tests of loading configurations."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.config.certificates import ensure_self_signed
from mongoosetw.config.load import Config, ConfigErrors, ModuleOptions, load, load_text
from mongoosetw.config.options import INFINITY, Infinity, option, section, sections
from mongoosetw.loading import options_of
from mongoosetw.module import NoOptions
from mongoosetw.xmpp.jid import JID

HEAD = '[general]\nhosts = ["localhost"]\n'


@dataclass(frozen=True)
class Backend:
    """A section of a module."""

    kind: Literal["memory", "rdbms"] = option("rdbms", doc="Where.")


@dataclass(frozen=True)
class Rule:
    """An element of an array of tables."""

    node: str = option(doc="Required.")
    weight: int = option(1, doc="Weight.", choices=(1, 2, 3))


@dataclass(frozen=True)
class PingOptions:
    """Options of all types."""

    send_pings: bool = option(False, doc="Flag.")
    ping_interval: float = option(60.0, minimum=1, unit="seconds", doc="Time.")
    limit: int | Infinity = option(INFINITY, maximum=100, doc="Limit.")
    names: tuple[str, ...] = option((), doc="Names.")
    comment: str | None = option(None, doc="Optional.")
    token: str = option("", secret=True, doc="Secret.")
    file: str = option("", path=True, doc="Path.")
    backend: Backend = section(Backend, "Nested.")
    rules: tuple[Rule, ...] = sections("Array.")


def module_options(name: str) -> type[Any] | None:
    """Know one module with options, one class by its path, and those of the sample."""
    if name in ("mod_ping", "acme.ping:Ping"):
        return PingOptions
    known = "roster presence disco carboncopy csi stream_management offline register".split()
    return NoOptions if name.removeprefix("mod_") in known else None


def problems(
    text: str, file: str = "m.toml", options: ModuleOptions = module_options
) -> list[str]:
    """Load a wrong text and return its errors."""
    try:
        load_text(text, options, file=file)
    except ConfigErrors as errors:
        return [str(error) for error in errors.errors]
    return []


class LoadTestCase(SynchronousTestCase):
    """Base of the tests here."""

    def load(self, text: str) -> Config:
        """Load a text after a minimal head."""
        return load_text(HEAD + text, module_options)

    def assert_problem(self, text: str, *expected: str) -> None:
        """A text after the two lines of the head gives exactly these errors."""
        self.assertEqual(problems(HEAD + text), [f"m.toml:{line}" for line in expected])


class SampleTests(LoadTestCase):
    """The files that are handed out load as they stand."""

    def test_sample(self) -> None:
        """The sample loads, with its values and MongooseIM's defaults."""
        path = Path(__file__).with_name("sample.toml")
        config = load(str(path), module_options)
        self.assertEqual(config.general.hosts, ("localhost",))
        self.assertEqual(config.general.data_dir, str(path.parent.absolute() / "data"))
        self.assertEqual(config.rdbms.driver, "sqlite")
        (listener,) = config.listen.c2s
        assert listener.tls is not None
        self.assertEqual((listener.port, listener.tls.mode), (5222, "starttls"))
        self.assertEqual(len(config.hosts["localhost"].modules), 8)

    def test_example(self) -> None:
        """The example of the documentation loads."""
        path = Path(__file__).parents[2] / "docs" / "mongoosetw.example.toml"
        self.assertEqual(load(str(path), options_of).general.hosts, ("localhost",))


class ErrorTests(LoadTestCase):
    """Errors name file, line, option and what was expected."""

    def test_all_at_once(self) -> None:
        """All errors of a file come together, in the order of lines."""
        text = (
            '[general]\nhosts = "localhost"\nloglevel = "loud"\nworkers = 0\n'
            "[[listen.c2s]]\nport = 70000\n[modules.mod_ping]\nping_interval = 0.5\n"
        )
        self.assertEqual(
            problems(text),
            [
                'm.toml:2: general.hosts: expected an array, got "localhost"',
                "m.toml:2: general.hosts: expected at least one host, or a host type",
                'm.toml:3: general.loglevel: expected one of "none", "critical", "error", '
                '"warning", "notice", "info", "debug", got "loud"',
                'm.toml:4: general.workers: expected an integer or "auto", at least 1, at most 64, '
                "got 0",
                "m.toml:6: listen.c2s[0].port: expected an integer, at least 1, at most 65535, "
                "got 70000",
                "m.toml:8: modules.mod_ping.ping_interval: expected a number (seconds), "
                "at least 1, got 0.5",
            ],
        )

    def test_unknown_option(self) -> None:
        """An unknown option is an error that names the nearest known one."""
        self.assert_problem(
            "data_dri = 'x'\n", "3: general.data_dri: unknown option; did you mean data_dir?"
        )

    def test_missing(self) -> None:
        """A required option that is missing is reported at its table."""
        self.assert_problem(
            "[[listen.c2s]]\n", "3: listen.c2s[0].port: is missing: expected an integer"
        )

    def test_lacking_features(self) -> None:
        """What MongooseIM has and we have not is said to be missing here."""
        self.assert_problem(
            "s2s_backend = 'cets'\n[[listen.s2s]]\nport = 5269\n[services.service_domain_db]\n"
            "[auth]\nmethods = ['internal', 'ldap']\n[outgoing_pools.rdbms.default]\n"
            "driver = 'mysql'\n[modules.mod_global_distrib]\n",
            "3: general.s2s_backend: mongoosetw does not have it (yet)",
            "4: listen.s2s: mongoosetw does not have it (yet)",
            "6: services: mongoosetw does not have it (yet)",
            '8: auth.methods[1]: "ldap": mongoosetw does not have it (yet)',
            '10: outgoing_pools.rdbms.default.driver: "mysql": mongoosetw does not have it (yet)',
            "11: modules.mod_global_distrib: mongoosetw does not have it (yet)",
        )

    def test_unknown_module(self) -> None:
        """A module that nobody knows is an error."""
        self.assert_problem("[modules.mod_x]\n", "3: modules.mod_x: no such module is installed")

    def test_secrets(self) -> None:
        """A password is neither in an error nor in what is logged of the configuration."""
        found = problems(HEAD + "[modules.mod_ping]\ntoken = ['hunter2']\n")
        self.assertEqual(
            found, ["m.toml:4: modules.mod_ping.token: expected a string, got an array"]
        )
        config = self.load(
            "[outgoing_pools.rdbms.default]\npassword = 'hunter2'\n"
            "[modules.mod_ping]\ntoken = 'hunter2'\n"
        )
        self.assertEqual(config.rdbms.password, "hunter2")
        self.assertNotIn("hunter2", repr(config))

    def test_milliseconds(self) -> None:
        """MongooseIM's milliseconds are refused where we count seconds."""
        self.assert_problem(
            "[[listen.c2s]]\nport = 5222\nstate_timeout = 5000\n",
            "5: listen.c2s[0].state_timeout: expected a number (seconds), at least 1, "
            "at most 600, got 5000",
        )

    def test_booleans_are_no_numbers(self) -> None:
        """A truth value does not pass for a number."""
        self.assert_problem(
            "workers = true\n",
            '3: general.workers: expected an integer or "auto", at least 1, at most 64, got true',
        )

    def test_not_a_number(self) -> None:
        """TOML's nan is outside of all bounds."""
        self.assert_problem(
            "[modules.mod_ping]\nping_interval = nan\n",
            "4: modules.mod_ping.ping_interval: expected a number (seconds), at least 1, got nan",
        )


class InstalledTests(LoadTestCase):
    """Modules as they are installed."""

    def assert_installed(self, text: str, *expected: str) -> None:
        """A text after the head gives exactly these errors with the server's own modules."""
        found = problems(HEAD + text, options=options_of)
        self.assertEqual(found, [f"m.toml:{line}" for line in expected])

    def test_lacking_options(self) -> None:
        """Options and back ends of MongooseIM's modules that ours lack are said to be missing."""
        self.assert_installed(
            "[modules.mod_roster]\nbackend = 'mnesia'\niqdisc.type = 'no_queue'\n"
            "versionning = true\n",
            '4: modules.mod_roster.backend: "mnesia": mongoosetw does not have it (yet)',
            "5: modules.mod_roster.iqdisc: mongoosetw does not have it (yet)",
            "6: modules.mod_roster.versionning: unknown option; did you mean versioning?",
        )

    def test_forms(self) -> None:
        """Addresses, domains and networks are checked, each element of an array by its own."""
        self.assert_installed(
            "[modules.mod_register]\nregistration_watchers = ['a@b', 'a@']\n"
            "[[modules.mod_register.ip_access]]\naddress = '10.0.0.0/33'\npolicy = 'deny'\n"
            "[modules.mod_disco]\nextra_domains = ['x@y']\n",
            "4: modules.mod_register.registration_watchers[1]: expected an address (JID), "
            'got "a@"',
            "6: modules.mod_register.ip_access[0].address: expected an IP address or network, "
            'such as 10.0.0.0/8, got "10.0.0.0/33"',
            '9: modules.mod_disco.extra_domains[0]: expected a domain, got "x@y"',
        )

    def test_access_rules(self) -> None:
        """A rule that an option names has to be defined, a default need not."""
        self.assert_installed(
            "[modules.mod_register]\naccess = 'regster'\n[modules.mod_offline]\n"
            "access_max_user_messages = 'max_user_offline_messages'\n"
            "[access]\nregister = [{acl = 'all', value = 'allow'}]\n",
            '4: modules.mod_register.access: no access rule "regster" is defined',
        )
        self.assert_installed(
            "[access]\nother = [{acl = 'all', value = 'allow'}]\n"
            "[[host_config]]\nhost = 'localhost'\n"
            "access.mine = [{acl = 'all', value = 'allow'}]\n"
            "modules.mod_register.access = 'mine'\n"
        )


class ValueTests(LoadTestCase):
    """Values of all types reach their modules."""

    def test_module_options(self) -> None:
        """A module gets an instance of its own options' class."""
        config = self.load(
            "[modules.mod_ping]\nsend_pings = true\nping_interval = 5\nlimit = 7\n"
            "names = ['a', 'b']\ncomment = 'c'\nbackend.kind = 'memory'\nfile = 'f.pem'\n"
            "[[modules.mod_ping.rules]]\nnode = 'n'\nweight = 3\n"
        )
        self.assertEqual(
            config.modules["mod_ping"].options,
            PingOptions(
                send_pings=True,
                ping_interval=5.0,
                limit=7,
                names=("a", "b"),
                comment="c",
                backend=Backend(kind="memory"),
                file=str(Path("f.pem").absolute()),
                rules=(Rule(node="n", weight=3),),
            ),
        )

    def test_infinity(self) -> None:
        """The word "infinity" stands above every bound; other words are errors."""
        config = self.load("[modules.mod_ping]\nlimit = 'infinity'\n")
        self.assertEqual(config.modules["mod_ping"].options.limit, INFINITY)
        self.assert_problem(
            "[modules.mod_ping]\nlimit = 'none'\n",
            '4: modules.mod_ping.limit: expected an integer or "infinity", at most 100, got "none"',
        )

    def test_elements(self) -> None:
        """A wrong element of an array is named by its position."""
        self.assert_problem(
            "[modules.mod_ping]\nnames = ['a',\n 2]\n[[modules.mod_ping.rules]]\nweight = 4\n",
            "5: modules.mod_ping.names[1]: expected a string, got 2",
            "6: modules.mod_ping.rules[0].node: is missing: expected a string",
            "7: modules.mod_ping.rules[0].weight: expected one of 1, 2, 3, got 4",
        )

    def test_class(self) -> None:
        """A module of another package is named by its class."""
        config = self.load("[modules.mod_acme]\nclass = 'acme.ping:Ping'\nlimit = 1\n")
        module = config.modules["mod_acme"]
        self.assertEqual((module.class_path, module.options.limit), ("acme.ping:Ping", 1))
        self.assert_problem(
            "[modules.mod_acme]\nclass = 'acme:Pong'\n",
            "4: modules.mod_acme.class: no such class: acme:Pong",
        )

    def test_connection(self) -> None:
        """The database is reached by options in the pool, or in its connection as in MongooseIM."""
        pool = "[outgoing_pools.rdbms.default]\nworkers = 3\n"
        flat = self.load(pool + "driver = 'pgsql'\nhost = 'db'\n").rdbms
        nested = self.load(pool + "connection = {driver = 'pgsql', host = 'db'}\n").rdbms
        self.assertEqual((flat.driver, flat.host, flat.workers), ("pgsql", "db", 3))
        self.assertEqual(flat, nested)


class WholeTests(LoadTestCase):
    """Contradictions between options are errors."""

    def test_hosts(self) -> None:
        """Hosts are prepared, and refused if they are no domains or stand there twice."""
        self.assertEqual(
            load_text('[general]\nhosts = ["EXAMPLE.com"]\n', module_options).general.hosts,
            ("example.com",),
        )
        (twice,) = problems('[general]\nhosts = ["a.org", "A.org"]\n')
        self.assertEqual(twice, 'm.toml:2: general.hosts[1]: "a.org" stands here twice')
        found = problems('[general]\nhosts = ["a.org", "x@a.org"]\n')
        self.assertEqual(found, ['m.toml:2: general.hosts[1]: expected a domain, got "x@a.org"'])

    def test_default_domain(self) -> None:
        """The default domain is one of the hosts."""
        self.assert_problem(
            "default_server_domain = 'b.org'\n",
            '3: general.default_server_domain: expected one of general.hosts, got "b.org"',
        )

    def test_ports(self) -> None:
        """Two listeners on one port are an error."""
        self.assert_problem(
            "[[listen.c2s]]\nport = 80\nip_address = '::1'\n"
            "[[listen.http]]\nport = 80\nip_address = '::1'\n",
            "7: listen.http[0].port: port 80 of ::1 is taken by listen.c2s[0]",
        )

    def test_names(self) -> None:
        """Shapers, access rules, ACLs and authentication methods have to be defined."""
        self.assert_problem(
            "[[listen.c2s]]\nport = 1\nip_address = 'here'\nshaper = 'fast'\naccess = 'c2s'\n"
            "allowed_auth_methods = ['dummy']\n[access]\n"
            "register = [{acl = 'us', value = 'deny'}]\n"
            "[acl]\nbad = [{user_regexp = '('}]\n",
            '5: listen.c2s[0].ip_address: expected an IPv4 or IPv6 address, got "here"',
            '6: listen.c2s[0].shaper: no shaper "fast" is defined',
            '7: listen.c2s[0].access: no access rule "c2s" is defined',
            '8: listen.c2s[0].allowed_auth_methods[0]: "dummy" is not among auth.methods',
            '10: access.register[0].acl: no ACL "us" is defined',
            '12: acl.bad[0].user_regexp: expected a regular expression, got "(": '
            "missing ), unterminated subpattern at position 0",
        )

    def test_certificates(self) -> None:
        """A certificate that is not there, or not its key's, is an error."""
        certfile, keyfile = ensure_self_signed(self.mktemp(), ["a"])
        _, other = ensure_self_signed(self.mktemp(), ["b"])
        listener = "[[listen.c2s]]\nport = 1\ntls.certfile = '{}'\ntls.keyfile = '{}'\n"
        full = [str(Path(name).absolute()) for name in (certfile, keyfile, other)]
        self.assertEqual(problems(HEAD + listener.format(full[0], full[1])), [])
        self.assert_problem(
            listener.format(full[0], full[2]),
            f"5: listen.c2s[0].tls.certfile: {full[2]} is not the key of the certificate "
            f"in {full[0]}",
        )
        self.assert_problem(
            listener.format("/no/such", full[1]),
            "5: listen.c2s[0].tls.certfile: /no/such can't be read: No such file or directory",
        )


class HostConfigTests(LoadTestCase):
    """One host may differ from the others."""

    TEXT = (
        '[general]\nhosts = ["a.org", "b.org"]\n[modules.mod_roster]\n'
        "[acl]\nadmin = [{user = 'alice'}]\n"
        "[access]\nconfigure = [{acl = 'admin', value = 'allow'}]\n"
        "[[host_config]]\nhost = 'b.org'\nauth.methods = ['dummy']\n"
        "[host_config.modules.mod_ping]\nlimit = 3\n"
        "[host_config.acl]\nadmin = [{user = 'bob'}]\n"
    )

    def test_override(self) -> None:
        """A host's modules and authentication replace the general ones."""
        hosts = load_text(self.TEXT, module_options).hosts
        self.assertEqual(list(hosts["a.org"].modules), ["mod_roster"])
        self.assertEqual(hosts["b.org"].modules["mod_ping"].options.limit, 3)
        self.assertEqual(list(hosts["b.org"].modules), ["mod_ping"])
        self.assertEqual(hosts["a.org"].auth.methods, ("internal",))
        self.assertEqual(hosts["b.org"].auth.methods, ("dummy",))

    def test_access(self) -> None:
        """A host's ACLs count in the rules that it shares with the others."""
        config = load_text(self.TEXT, module_options)
        for domain, admin, user in (("a.org", "alice", "bob"), ("b.org", "bob", "alice")):
            access = config.access(domain)
            self.assertTrue(access.allows("configure", JID.parse(f"{admin}@{domain}")))
            self.assertFalse(access.allows("configure", JID.parse(f"{user}@{domain}")))

    def test_errors(self) -> None:
        """A host_config is for exactly one known host, and modules in it are checked."""
        self.assert_problem(
            "[[host_config]]\n[[host_config]]\nhost = 'c.org'\nauth.methods = ['ldap']\n"
            "[host_config.modules.mod_ping]\nlimt = 1\n",
            "3: host_config[0]: expected either host or host_type",
            '5: host_config[1].host: expected one of general.hosts, got "c.org"',
            '6: host_config[1].auth.methods[0]: "ldap": mongoosetw does not have it (yet)',
            "8: host_config[1].modules.mod_ping.limt: unknown option; did you mean limit?",
        )
