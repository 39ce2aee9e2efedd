"""Every command of mongoosectl against a running node, over its real socket."""

import argparse
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw import ctl
from tests.integration.node import CONFIG, NodeTestCase


def commands(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser, str]]:
    """Every command of the command line: its words, its parser, its help in the list."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, below in action.choices.items():
                if any(isinstance(a, argparse._SubParsersAction) for a in below._actions):
                    yield from commands(below, (*path, name))
                else:
                    yield (*path, name), below, helps[name]


class HelpTests(SynchronousTestCase):
    """What the command line says of itself."""

    def test_commands(self) -> None:
        """There is every command that operators need."""
        names = {" ".join(words) for words, _, _ in commands(ctl.parser())}
        self.assertLessEqual(
            {
                *(f"account {what}" for what in ("register", "unregister", "change-password")),
                *(f"account {what}" for what in ("check", "list", "count")),
                *(f"session {what}" for what in ("list", "kick", "count")),
                *(f"domain {what}" for what in ("add", "remove", "list", "enable", "disable")),
                *("modules", "hooks", "check", "reload", "stop", "status"),
                *("loglevel get", "loglevel set", "db upgrade", "db sql", "docs"),
            },
            names,
        )

    def test_help(self) -> None:
        """Every command says what it does, and every argument what it is for."""
        for words, parser, listed in commands(ctl.parser()):
            self.assertTrue(listed, words)
            self.assertTrue(parser.description, words)
            for action in parser._actions:
                self.assertTrue(action.help, (words, action.dest))


class CommandsOfANode(NodeTestCase):
    """A node that is operated."""

    config = (
        CONFIG.replace('hosts = ["localhost"]', 'hosts = ["localhost"]\nhost_types = ["basic"]')
        + "[modules.mod_roster]\n[modules.mod_ping]\n"
    )

    def refused(self, *arguments: str) -> str:
        """What a command says that exits with 1; nothing is on its standard output."""
        done = self.run_ctl(*arguments)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        return done.stderr

    def test_accounts_and_sessions(self) -> None:
        """Accounts are made, checked, listed, changed and removed, sessions listed and closed."""
        alice = {"jid": "alice@localhost"}
        made = self.run_ctl("account", "register", "alice@localhost", given="secret\n")
        self.assertEqual((made.returncode, made.stdout), (0, "jid: alice@localhost\n"))
        again = self.refused("account", "register", "alice@localhost", "--password", "x")
        self.assertIn("exists already", again)
        checked = self.ctl_json("account", "check", "alice@localhost", "--password", "secret")
        self.assertEqual(checked, alice | {"exists": True, "password_correct": True})
        self.assertEqual(self.ctl("account", "list"), "alice@localhost\n")
        self.assertEqual(self.ctl_json("account", "count"), {"localhost": 1})
        self.ctl("account", "change-password", "alice@localhost", "--password", "other")
        clients = [self.client() for _ in range(2)]
        for client, resource in zip(clients, "ab", strict=True):
            client.login("alice", resource, "other")
        self.assertEqual(self.ctl_json("session", "count"), {"localhost": 2})
        listed = self.ctl("session", "list", "localhost").splitlines()
        self.assertEqual(listed[0].split(), ["jid", "available", "priority", "address", "secure"])
        self.assertEqual(listed[1].split(), ["alice@localhost/a", "no", "-", "127.0.0.1", "no"])
        self.ctl("session", "kick", "alice@localhost/a", "go away")
        self.assertIn("go away", clients[0].rest())
        self.ctl("account", "unregister", "alice@localhost")
        self.assertIn("not-authorized", clients[1].rest())
        again = self.refused("account", "unregister", "alice@localhost")
        self.assertIn("there is no account", again)
        self.assertIn("has no session", self.refused("session", "kick", "alice@localhost"))

    def test_domains(self) -> None:
        """A domain is added, switched off, removed; what cannot be done exits with 1."""
        self.assertEqual(
            self.ctl("domain", "add", "new.test", "basic"),
            "domain: new.test\nhost_type: basic\nstatus: enabled\n",
        )
        self.ctl("account", "register", "bob@new.test", "--password", "secret")
        self.ctl("domain", "disable", "new.test")
        rows = self.ctl("domain", "list").splitlines()
        self.assertEqual([row.split()[2] for row in rows[1:]], ["configured", "disabled"])
        self.assertIn("not served", self.refused("account", "list", "new.test"))
        self.ctl("domain", "enable", "new.test")
        self.assertEqual(self.ctl("account", "list", "new.test"), "bob@new.test\n")
        self.assertIn("of the host type basic", self.refused("domain", "remove", "new.test", "x"))
        self.ctl("domain", "remove", "new.test")
        self.assertEqual(len(self.ctl_json("domain", "list")), 1)
        self.assertIn("no host type huge", self.refused("domain", "add", "x.test", "huge"))

    def test_server(self) -> None:
        """The server tells what runs, changes its configuration and log level, and stops."""
        status = self.ctl_json("status")
        self.assertEqual(status["clients"], [f"127.0.0.1:{self.port}"])
        self.assertEqual((status["domains"], status["database"]), (["localhost"], "sqlite"))
        self.assertIn("mod_ping", self.ctl("modules"))
        self.assertIn("mod_ping", self.ctl_json("modules", "localhost")["localhost"][0]["name"])
        chains = self.ctl("hooks", "--hook", "SessionClosed").splitlines()
        self.assertEqual(chains[:2], ["localhost:", "  SessionClosed"])
        self.assertEqual(chains[2].split()[:3], ["50", "mod_ping", "Ping.closed"])
        self.assertEqual(chains[3].split()[:2], ["100", "metrics"])
        self.assertIn("nobody handles", self.refused("hooks", "--hook", "Nonsense"))
        self.assertIn("default: debug", self.ctl("loglevel", "set", "debug"))
        self.assertEqual(self.ctl_json("loglevel", "get")[""], "debug")
        self.assertIn("is no log level", self.refused("loglevel", "set", "loud"))
        self.assertEqual(self.ctl("reload"), "nothing has changed\n")
        self.file.write_text(self.file.read_text() + "send_pings = true\n")
        self.assertIn("no errors", self.ctl("check"))
        reloaded = self.ctl_json("reload")
        self.assertEqual({row["applied"] for row in reloaded}, {"now"})
        self.assertEqual(self.run_ctl("session", "nonsense").returncode, 2)
        self.assertIn("no module mod_nonsense runs", self.run_ctl("nonsense").stderr)
        self.ctl("stop")
        self.assertEqual(self.node.wait(60), 0)
        self.assertIn("the server is not running", self.refused("status"))
