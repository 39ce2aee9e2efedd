"""``[cluster]``: what is accepted and what is refused, and in which words."""

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.cluster.config import StaticNode, node_names, static_nodes
from mongoosetw.config.load import Config, ConfigErrors, load_text

HEAD = '[general]\nhosts = ["localhost"]\n'
SECRET = 'secret = "correct horse battery"\n'


def load(text: str, workers: int = 1) -> Config:
    """Loads a configuration with this ``[cluster]``."""
    head = f"{HEAD}workers = {workers}\n[cluster]\n"
    return load_text(head + text, lambda name: None)


class ClusterConfigTests(SynchronousTestCase):
    """The section ``[cluster]``."""

    def assert_problem(self, text: str, *expected: str, workers: int = 1) -> None:
        """A section gives exactly these errors."""
        with self.assertRaises(ConfigErrors) as raised:
            load(text, workers)
        found = [f"{error.path}: {error.message}" for error in raised.exception.errors]
        self.assertEqual(found, list(expected))

    def test_nothing_else_is_needed_on_one_machine(self) -> None:
        """Workers of one machine need nothing more."""
        config = load("", workers=4)
        self.assertEqual((config.workers, config.cluster.discovery), (4, "supervisor"))

    def test_auto(self) -> None:
        """``auto`` is at least one worker."""
        config = load_text(f'{HEAD}workers = "auto"\n', lambda name: None)
        self.assertGreaterEqual(config.workers, 1)

    def test_static(self) -> None:
        """A list of machines numbers their nodes by position, each worker one."""
        text = 'nodes = ["a@192.0.2.1:7000-7001", "b@[2001:db8::2]:7000"]'
        config = load(f'discovery = "static"\nnode_name = "a"\n{SECRET}{text}', workers=2)
        self.assertEqual(
            static_nodes(config.cluster.nodes),
            [
                StaticNode("a.1", "192.0.2.1", 7000, 0),
                StaticNode("a.2", "192.0.2.1", 7001, 1),
                StaticNode("b", "2001:db8::2", 7000, 2),
            ],
        )
        self.assertEqual(node_names("a", 2), ["a.1", "a.2"])

    def test_static_without_this_machine(self) -> None:
        """The list has to name the nodes of this machine."""
        self.assert_problem(
            f'discovery = "static"\nnode_name = "c"\n{SECRET}nodes = ["a@192.0.2.1:7000"]',
            "cluster.nodes: expected this machine's nodes to be among them: c",
        )

    def test_bad_entries(self) -> None:
        """An entry that is none is quoted."""
        for entry, text in {
            "a": 'expected "name@address:port", got "a"',
            "a@h:9-8": 'expected ports from 1 to 65535, ascending, got "a@h:9-8"',
        }.items():
            self.assert_problem(
                f'discovery = "static"\nnode_name = "a"\n{SECRET}nodes = ["{entry}"]',
                f"cluster.nodes: {text}",
            )

    def test_two_entries_of_one_name(self) -> None:
        """A name stands for one node."""
        self.assert_problem(
            f'discovery = "static"\nnode_name = "a"\n{SECRET}nodes = ["a@h:1", "a@i:1"]',
            "cluster.nodes: a stands here twice",
        )

    def test_proof_is_needed(self) -> None:
        """Nodes of several machines need a secret or certificates."""
        self.assert_problem(
            'discovery = "static"\nnode_name = "a"\nnodes = ["a@h:1"]',
            "cluster.secret: nodes of other machines need a secret or tls.cacertfile to prove "
            "themselves by",
        )

    def test_short_secret(self) -> None:
        """A secret that can be guessed is refused, and not shown."""
        self.assert_problem(
            'secret = "hunter2"', "cluster.secret: expected at least 16 characters"
        )

    def test_rdbms_needs_postgresql(self) -> None:
        """Machines cannot share an SQLite file."""
        self.assert_problem(
            f'discovery = "rdbms"\nip_address = "192.0.2.1"\n{SECRET}',
            'cluster.discovery: "rdbms" needs outgoing_pools.rdbms.default.driver = "pgsql": '
            "SQLite is a file here",
        )

    def test_rdbms_addresses(self) -> None:
        """Nodes say where they can be reached, and that has to be a real address."""
        database = '[outgoing_pools.rdbms.default]\ndriver = "pgsql"\n'
        self.assert_problem(
            f'discovery = "rdbms"\n{SECRET}{database}',
            'cluster.ip_address: expected an IPv4 or IPv6 address, got ""',
        )
        self.assert_problem(
            f'discovery = "rdbms"\nip_address = "::"\n{SECRET}{database}',
            "cluster.advertised_address: is missing: nobody can connect to ::",
        )

    def test_list_without_static(self) -> None:
        """A list that nobody would read is pointed out."""
        self.assert_problem(
            'nodes = ["a@h:1"]', 'cluster.nodes: is of use with discovery = "static" only'
        )

    def test_half_a_certificate(self) -> None:
        """Authority and certificate belong together."""
        self.assert_problem(
            '[cluster.tls]\ncacertfile = "/etc/hostname"',
            "cluster.tls: cacertfile and certfile are of use together only",
        )

    def test_name(self) -> None:
        """A name that could not stand in a log line or an address is refused."""
        self.assert_problem(
            'node_name = "a b"',
            "cluster.node_name: expected letters, digits, dots, dashes and underscores, "
            'got "a b"',
        )
