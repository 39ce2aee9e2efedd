"""Metrics of several processes as one text: each sample says which node it is of.

The text format is Prometheus' 0.0.4: all samples of a metric stand together, behind its header.
"""

from collections.abc import Mapping


def label(text: str, node: str) -> str:
    """The text with the label ``node`` in every sample."""
    return "".join(f"{_labelled(line, node)}\n" for line in text.splitlines())


def merge(texts: Mapping[str, str]) -> str:
    """One text of those of several nodes, by name."""
    headers: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for node, text in texts.items():
        family = ""
        for line in text.splitlines():
            if line.startswith("#"):
                family = line.split(" ", 3)[2]
                header = headers.setdefault(family, [])
                if len(header) < 2 and line not in header:
                    header.append(line)
            elif line:
                samples.setdefault(family, []).append(_labelled(line, node))
    lines: list[str] = []
    for family, header in headers.items():
        lines += header
        lines += samples.get(family, [])
    return "\n".join(lines) + "\n"


def _labelled(line: str, node: str) -> str:
    if not line or line.startswith("#"):
        return line
    name, brace, rest = line.partition("{")
    if brace:
        return f'{name}{{node="{node}",{rest}'
    name, _, value = line.partition(" ")
    return f'{name}{{node="{node}"}} {value}'
