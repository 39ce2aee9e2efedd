"""docs/metrics.md: what the server counts."""

from collections.abc import Iterable, Iterator

from mongoosetw.docs import found
from mongoosetw.docs.markdown import GENERATED, blocks, code, table

_INTRODUCTION = """\
An HTTP listener with `mongoose_prometheus_handler` answers with them in Prometheus' text format
([configuration](configuration.md#listenhttphandlersmongoose_prometheus_handler)). Names are
MongooseIM's where the metric means the same. Counters and histograms begin at zero when the
process starts; a reload does not reset them. A histogram `x` is exposed as `x_bucket`, `x_count`
and `x_sum`; times are in seconds.

`host_type` is the host type of the domain, which for a plain host is the domain itself.

The process's own figures (`process_…`, `python_…`) come from the Prometheus client library.
"""


def page() -> str:
    """The whole page."""
    return blocks(["# Metrics", GENERATED, _INTRODUCTION.rstrip(), *_sections()])


def _sections() -> Iterator[str]:
    by_module: dict[str, list[found.FoundMetric]] = {}
    for item in found.metrics():
        by_module.setdefault(item.module, []).append(item)
    for module in sorted(by_module):
        yield f"## [{module}](modules/{module}.md)" if module else "## The core"
        yield listing(by_module[module])


def listing(items: Iterable[found.FoundMetric]) -> str:
    """A table of metrics."""
    rows = (
        (
            code(item.metric.name),
            item.metric.kind,
            ", ".join(map(code, item.labels)),
            item.metric.doc,
        )
        for item in items
    )
    return table(("name", "type", "labels", "meaning"), rows)
