"""Configuration files that somebody has mistyped: there are only errors that say so."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.config.errors import ConfigErrors
from mongoosetw.config.load import Config, load_text
from mongoosetw.config.toml import read
from tests.config.test_load import module_options

SAMPLE = (
    Path(__file__).with_name("sample.toml").read_text()
    + """
[[listen.c2s]]
port = 5223
shaper = "normal"
access = "c2s"
max_stanza_size = "infinity"
allowed_auth_methods = ["internal"]
login_attempts.delay = 2.0
[listen.c2s.tls]
mode = "tls"
versions = ["tlsv1.3"]
ciphers = "ECDHE+AESGCM"
verify_mode = "peer"
certfile = "/nowhere/cert.pem"
cacertfile = "/nowhere/ca.pem"
crl_files = ["/nowhere/crl.pem"]
certificates = [{domain = "bücher.example", certfile = "/nowhere/b.pem"}]
[auth]
methods = ["internal", "anonymous"]
sasl_mechanisms = ["scram_sha1", "plain"]
password.hash = ["sha256"]
[outgoing_pools.rdbms.default]
driver = "pgsql"
port = 5432
connection.host = "db"
[shaper.normal]
max_rate = 1000
[acl]
admin = [{user = "a", server_regexp = "[a-z]+"}]
[access]
c2s = [{acl = "admin", value = "allow"}, {acl = "all", value = 10}]
[[host_config]]
host = "localhost"
auth.methods = ["dummy"]
"""
)
TOKENS = st.sampled_from(
    "[ ] [[ ]] { } = . , \" ' \"\"\" ''' # \\ \n \t true 0 -1 1e9 nan inf 07:00:00 1979-05-27 "
    "infinity hosts general listen c2s port tls modules class acl access host_config é \0".split(
        " "
    )
)
SCALARS = st.one_of(
    st.booleans().map(lambda value: str(value).lower()),
    st.integers().map(str),
    st.floats().map(repr),
    st.text(
        st.characters(min_codepoint=32, exclude_characters='"\\\x7f', exclude_categories=["Cs"])
    ).map(lambda text: f'"{text}"'),
    st.dates().map(str),
    st.sampled_from(
        ["[]", "{}", "[[]]", "'x'", "[1, 'a', {}]", "{a.b = 1}", '"\\u0000"', "'~no-such-user/x'"]
    ),
)


def loaded(text: str) -> Config | ConfigErrors:
    """The configuration, or the errors; anything else is raised."""
    try:
        return load_text(text, module_options)
    except ConfigErrors as errors:
        return errors


class MistypedTests(SynchronousTestCase):
    """Whatever a file holds, loading it gives a configuration or ConfigErrors."""

    def check(self, text: str) -> None:
        """Loads a text; errors name lines of it."""
        errors = loaded(text)
        if isinstance(errors, ConfigErrors):
            self.assertTrue(errors.errors)
            for error in errors.errors:
                self.assertTrue(1 <= error.line <= text.count("\n") + 1, error)

    @settings(max_examples=60)
    @given(st.lists(st.tuples(st.integers(0, len(SAMPLE)), st.integers(0, 9), TOKENS), max_size=4))
    def test_tampered(self, changes: list[tuple[int, int, str]]) -> None:
        """A good file with some of it cut out or put in."""
        text = SAMPLE
        for place, cut, token in changes:
            text = text[:place] + token + text[place + cut :]
        self.check(text)

    @settings(max_examples=60)
    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """Any text at all."""
        self.check(text)

    @settings(max_examples=60)
    @given(st.data(), SCALARS)
    def test_wrong_types(self, data: st.DataObject, value: str) -> None:
        """A good file with a value of another type."""
        lines = SAMPLE.split("\n")
        places = [n for n, line in enumerate(lines) if " = " in line]
        place = data.draw(st.sampled_from(places))
        lines[place] = lines[place].partition(" = ")[0] + " = " + value
        self.check("\n".join(lines))

    def test_extremes(self) -> None:
        """Numbers without end, and arrays and tables nested without end, are errors, too."""
        for text in ("1" * 5000, "[" * 100_000, "{a=" * 100_000, "[" * 9000 + "]" * 9000):
            self.assertIsInstance(loaded(f"x = {text}"), ConfigErrors)
        self.assertIsInstance(loaded("[" + ".".join("a" * 500) + "]"), ConfigErrors)

    def test_home_of_nobody(self) -> None:
        """A path in the home of a user who does not exist is an error that says so."""
        errors = loaded("[general]\nhosts = ['a']\ndata_dir = '~no-such-user/x'")
        self.assertIn("general.data_dir: ~no-such-user/x: there is no such user", str(errors))

    def test_unreadable(self) -> None:
        """A file of other bytes than UTF-8, a folder, and no file are errors."""
        bad = Path(self.mktemp())
        bad.write_bytes(b"x = '\xff'")
        for path in (str(bad), ".", "/nowhere/at/all", "\0"):
            self.assertRaises(ConfigErrors, read, path)
