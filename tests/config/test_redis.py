"""``general.sm_backend`` and ``outgoing_pools.redis``."""

from mongoosetw.config.load import load_text
from tests.config.test_load import LoadTestCase

HEAD = "[general]\nhosts = ['a.b']\n"
POOL = "[outgoing_pools.redis.default]\n"


class RedisOptionsTests(LoadTestCase):
    """What an operator writes."""

    def test_defaults(self) -> None:
        """Without a word about it all nodes know all sessions."""
        config = load_text(HEAD, lambda *_: None)
        self.assertEqual(config.general.sm_backend, "replicated")
        self.assertEqual((config.redis.host, config.redis.port), ("127.0.0.1", 6379))

    def test_connection(self) -> None:
        """Options stand where MongooseIM has them, with or without a table of the connection."""
        for place in ("", "connection."):
            config = load_text(
                f"{HEAD}sm_backend = 'redis'\n{POOL}{place}host = 'r.example'\n"
                f"{place}database = 3\n{place}password = 'word'\n{place}tls.verify_mode = 'none'",
                lambda *_: None,
            )
            redis = config.redis
            self.assertEqual((redis.host, redis.database, redis.password), ("r.example", 3, "word"))
            assert redis.tls is not None
            self.assertEqual(redis.tls.verify_mode, "none")

    def test_sentinels(self) -> None:
        """Addresses of sentinels."""
        config = load_text(
            f"{HEAD}{POOL}sentinels = ['s.example:26379', '[2001:db8::1]:1']", lambda *_: None
        )
        wanted = [("s.example", 26379), ("2001:db8::1", 1)]
        self.assertEqual(config.redis.sentinel_addresses, wanted)

    def test_other_backends(self) -> None:
        """MongooseIM's other back ends are refused, and what to write is said."""
        for name in ("mnesia", "cets"):
            self.assert_problem(
                f"sm_backend = '{name}'\n",
                f'3: general.sm_backend: expected "replicated" or "redis", got "{name}"; '
                f'"replicated" is what "{name}" is in MongooseIM',
            )
        self.assert_problem(
            "sm_backend = 'raft'\n",
            '3: general.sm_backend: expected "replicated" or "redis", got "raft"',
        )

    def test_contradictions(self) -> None:
        """Addresses that are none, users without a password, files that are not there."""
        self.assert_problem(
            f"{POOL}sentinels = ['s.example']\nusername = 'u'\ntls.cacertfile = '/nowhere'\n",
            '4: outgoing_pools.redis.default.sentinels[0]: expected "host:port", got "s.example"',
            "5: outgoing_pools.redis.default.username: is of no use without password",
            "6: outgoing_pools.redis.default.tls.cacertfile: /nowhere can't be read, or holds no "
            "certificate in PEM form",
        )
