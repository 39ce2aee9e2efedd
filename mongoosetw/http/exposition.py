"""Metrics in Prometheus' text format."""

from typing import Any

from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR
from prometheus_client.core import Metric

from mongoosetw.metrics import REGISTRY, Registry, number


def exposition(registry: Registry = REGISTRY, *, process: bool = True) -> bytes:
    """Return the metrics in Prometheus' text format 0.0.4.

    :param process: also memory, CPU time, open files and garbage collection of this process.
    """
    lines: list[str] = []
    collectors: list[Any] = [registry]
    if process:
        collectors += [PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR]
    for collector in collectors:
        for metric in collector.collect():
            _write_metric(lines, metric)
    return "".join(lines).encode()


def _write_metric(lines: list[str], metric: Metric) -> None:
    # generate_latest() of prometheus-client would announce every counter as "NAME_total".
    samples = metric.samples
    name = metric.name
    if metric.type == "counter" and samples and samples[0].name == f"{name}_total":
        name = f"{name}_total"
    kind = "untyped" if metric.type == "unknown" else metric.type
    doc = metric.documentation.replace("\\", "\\\\").replace("\n", "\\n")
    lines.append(f"# HELP {name} {doc}\n# TYPE {name} {kind}\n")
    for sample in samples:
        if not sample.name.endswith("_created"):
            labels = ",".join(f'{key}="{_escape(v)}"' for key, v in sample.labels.items())
            braces = f"{{{labels}}}" if labels else ""
            lines.append(f"{sample.name}{braces} {number(sample.value)}\n")


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
