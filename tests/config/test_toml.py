"""Tests of the index of lines."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.config.errors import ConfigErrors, Path
from mongoosetw.config.toml import parse, read

DOCUMENT = '''\
# A comment with [brackets] and "quotes
title = "a"          # after a value

[general]
hosts = [            # line 5
  "a.example",
  'b.example',       # line 7
]
text = """
[not.a.table]
key = "\\""" """
"quoted.key" = 1

[[listen.c2s]]
port = 5222          # line 15
tls.mode = "tls"
tls.certificates = [{domain = "a", certfile = "x"},
  {domain = "b"}]

  [listen.c2s.login_attempts]
  delay = 1.5

[[listen.c2s]]
port = 5223          # line 24
[listen.c2s.tls]
mode = "starttls"
[last]
at = 1979-05-27 07:32:00
nothing = {}
end = 1'''

LINES: dict[Path, int] = {
    ("title",): 2,
    ("general",): 4,
    ("general", "hosts"): 5,
    ("general", "hosts", 0): 6,
    ("general", "hosts", 1): 7,
    ("general", "text"): 9,
    ("general", "quoted.key"): 12,
    ("listen", "c2s"): 14,
    ("listen", "c2s", 0): 14,
    ("listen", "c2s", 0, "port"): 15,
    ("listen", "c2s", 0, "tls"): 16,
    ("listen", "c2s", 0, "tls", "mode"): 16,
    ("listen", "c2s", 0, "tls", "certificates", 0, "certfile"): 17,
    ("listen", "c2s", 0, "tls", "certificates", 1): 18,
    ("listen", "c2s", 0, "login_attempts", "delay"): 21,
    ("listen", "c2s", 1): 23,
    ("listen", "c2s", 1, "port"): 24,
    ("listen", "c2s", 1, "tls", "mode"): 26,
    ("last", "at"): 28,
    ("last", "nothing"): 29,
    ("last", "end"): 30,
}


class LineIndexTests(SynchronousTestCase):
    """Every value's line is known."""

    def test_lines(self) -> None:
        """Keys, dotted keys, tables, arrays of tables and elements of arrays have their lines."""
        document = parse(DOCUMENT)
        self.assertEqual({path: document.lines.get(path) for path in LINES}, LINES)

    def test_windows_line_ends(self) -> None:
        """Lines that end in CR LF count once."""
        self.assertEqual(parse(DOCUMENT.replace("\n", "\r\n")).line(("last", "end")), 30)

    def test_missing_key(self) -> None:
        """A key that is not there is placed at the table where it should stand."""
        self.assertEqual(parse(DOCUMENT).line(("general", "language")), 4)
        self.assertEqual(parse(DOCUMENT).line(("elsewhere",)), 1)

    def test_not_toml(self) -> None:
        """A syntax error gives file and line."""
        error = self.assertRaises(ConfigErrors, parse, "a = 1\nb = \n", "x.toml")
        self.assertEqual(str(error), "x.toml:2: not valid TOML: Invalid value")

    def test_end_of_document(self) -> None:
        """A syntax error at the end of the document has the last line."""
        error = self.assertRaises(ConfigErrors, parse, 'a = 1\nb = "', "x.toml")
        self.assertEqual(error.errors[0].line, 2)

    def test_no_file(self) -> None:
        """A file that is not there is an error of the configuration."""
        error = self.assertRaises(ConfigErrors, read, self.mktemp())
        self.assertIn("can't be read: No such file", str(error))

    @given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])), max_size=5))
    def test_any_strings(self, texts: list[str]) -> None:
        """Whatever stands in strings does not mislead the index."""
        quoted = [text.replace("\\", "\\\\").replace('"', '\\"') for text in texts]
        lines = [f'k{n} = ["{text}", """{text}"""]' for n, text in enumerate(quoted)]
        document = parse("\n".join([*lines, "end = 1"]))
        self.assertEqual(document.line(("end",)), len(texts) + 1)
        self.assertEqual([document.values[f"k{n}"][1] for n in range(len(texts))], texts)
