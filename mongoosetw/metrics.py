"""Metrics: declared on classes, counted in plain numbers, exposed in Prometheus' text format.

A module declares its metrics as class attributes::

    class Ping(Module[PingOptions]):
        timeouts = Counter("mod_ping_response_timeout_count", "Pings that nobody answered")
        ...
        self.timeouts.inc()

Every value of such a metric carries the label ``host_type`` of the module's host. What belongs to
the node and not to a host is declared as a constant of a Python module and used through
:meth:`Declaration.of_node`. Counting is one addition on a slot; labels are resolved when the
attribute is first read. Names are MongooseIM's where the metric means the same, so counters end in
``_count`` and not in ``_total``. ``docs/metrics.md`` is made from the declarations.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Any, Final, Generic, Self, TypeVar, overload

from prometheus_client.core import Metric

DEFAULT_BUCKETS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
    0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of a histogram's buckets, in seconds."""


class Count:
    """One series of a counter.

    :ivar value: how often, since the process started.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def inc(self, by: float = 1) -> None:
        """Count ``by`` more."""
        self.value += by


class Level:
    """One series of a gauge.

    :ivar value: the current value, or a function that is asked at each scrape.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float | Callable[[], float] = 0

    def set(self, value: float | Callable[[], float]) -> None:
        """Make ``value`` the current value; a function is asked at each scrape."""
        self.value = value

    def inc(self, by: float = 1) -> None:
        """Add to a gauge that holds a number."""
        self.value = self.read() + by

    def dec(self, by: float = 1) -> None:
        """Subtract from a gauge that holds a number."""
        self.value = self.read() - by

    def read(self) -> float:
        """Return the current value."""
        return self.value() if callable(self.value) else self.value


class Distribution:
    """One series of a histogram.

    :ivar counts: observations by bucket, the last one above every bound.
    :ivar sum: of all observed values.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum: float = 0

    def observe(self, value: float) -> None:
        """Note one value (for times: seconds)."""
        # A bucket's bound is inclusive ("le"), hence the left end.
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


Series = TypeVar("Series", bound=Count | Level | Distribution)


class Labelled(Generic[Series]):
    """The series of one metric on one host, by further labels."""

    __slots__ = ("_find", "_first", "_series")

    def __init__(self, find: Callable[..., Series], first: tuple[str, ...]) -> None:
        self._find = find
        self._first = first
        self._series: dict[tuple[str, ...], Series] = {}

    def labels(self, *values: str) -> Series:
        """Return the series for the values of the declared labels, in their order."""
        found = self._series.get(values)
        if found is None:
            found = self._series[values] = self._find(*self._first, *values)
        return found

    def __iter__(self) -> Iterator[Series]:
        return iter(self._series.values())


class Family(Generic[Series]):
    """All series of one metric.

    Counters and histograms are shared by all who count under the same labels. Of a gauge everybody
    has a series of their own, and the sum is exposed: two domains of one host type do not
    overwrite one another's levels, and one that goes takes its own with it.

    :ivar name: as exposed.
    :ivar kind: ``counter``, ``gauge`` or ``histogram``.
    :ivar label_names: of every series.
    """

    def __init__(self, declared: "Declaration[Series]", label_names: tuple[str, ...]) -> None:
        self.name = declared.name
        self.kind = declared.kind
        self.doc = declared.doc
        self.label_names = label_names
        self._new = declared.new_series
        self._series: dict[tuple[str, ...], list[Series]] = {}

    def series(self, *values: str) -> Series:
        """Return the series with these label values; make it when it is new.

        :raises ValueError: when their number is not that of the labels.
        """
        found = self._series.get(values)
        return found[0] if found else self.part(*values)

    def part(self, *values: str) -> Series:
        """Return a new series, which is exposed together with others of the same labels.

        :raises ValueError: when the number of values is not that of the labels.
        """
        if len(values) != len(self.label_names):
            raise ValueError(f"{self.name} has the labels {self.label_names}, not {values}")
        new = self._new()
        self._series.setdefault(values, []).append(new)
        return new

    def forget(self, part: Series) -> None:
        """Expose a series no longer."""
        for values, parts in list(self._series.items()):
            parts[:] = [other for other in parts if other is not part]
            if not parts:
                del self._series[values]

    def clear(self) -> None:
        """Expose no series until one is asked for again."""
        self._series.clear()

    def collect(self) -> Metric:
        """Return the present values for the exposition."""
        metric = Metric(self.name, self.doc, self.kind)
        # Metric() takes a suffix "_total" off a counter's name.
        metric.name = self.name
        for values, parts in list(self._series.items()):
            _add_samples(metric, dict(zip(self.label_names, values, strict=True)), parts)
        return metric


def _add_samples(metric: Metric, labels: dict[str, str], parts: Sequence[Any]) -> None:
    first = parts[0]
    if isinstance(first, Count):
        metric.add_sample(metric.name, labels, first.value)
    elif isinstance(first, Level):
        metric.add_sample(metric.name, labels, sum(level.read() for level in parts))
    else:
        total = 0
        for bound, count in zip((*first.bounds, inf), first.counts, strict=True):
            total += count
            le = {**labels, "le": number(bound)}
            metric.add_sample(f"{metric.name}_bucket", le, total)
        metric.add_sample(f"{metric.name}_count", labels, total)
        metric.add_sample(f"{metric.name}_sum", labels, first.sum)


class Registry:
    """What one process exposes. A custom collector in the sense of prometheus-client.

    Counts outlive the module that counted them, so that a reload does not reset a series.
    """

    def __init__(self) -> None:
        self._families: dict[str, Family[Any]] = {}
        self._watchers: list[Callable[[], object]] = []

    def family(
        self, declared: "Declaration[Series]", label_names: tuple[str, ...]
    ) -> Family[Series]:
        """Return the family of a declaration; equal declarations share one.

        :raises ValueError: when the name is taken by a metric of another kind or other labels.
        """
        found = self._families.get(declared.name)
        if found is None:
            found = self._families[declared.name] = Family(declared, label_names)
        elif (found.kind, found.label_names) != (declared.kind, label_names):
            raise ValueError(
                f"{declared.name} is already a {found.kind} with the labels {found.label_names}"
            )
        return found

    def on_scrape(self, watcher: Callable[[], object]) -> Callable[[], None]:
        """Have ``watcher`` called before each scrape, to set what is not counted as it happens.

        :returns: a function that ends it.
        """
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        for watcher in list(self._watchers):
            watcher()
        for family in list(self._families.values()):
            yield family.collect()


REGISTRY: Final = Registry()
"""The registry of this process: one process is one node."""


class Declaration(Generic[Series]):
    """A metric as declared on a class; read through an instance it is the host's series.

    The instance has a ``host`` with a ``host_type`` or at least a ``domain``.
    """

    kind = ""

    def __init__(
        self, name: str, doc: str, labels: Sequence[str] = (), *, registry: Registry = REGISTRY
    ) -> None:
        """Declare a metric.

        :param name: as exposed.
        :param doc: one sentence for the operator.
        :param labels: names of further labels; then use ``self.metric.labels(value)``.
        :param registry: where it is exposed; the process's own by default.
        """
        self.name = name
        self.doc = doc
        self.label_names = tuple(labels)
        self.registry = registry
        self.attribute = ""

    def new_series(self) -> Series:
        """Return a series that has counted nothing."""
        raise TypeError(f"{type(self).__name__} is not a kind of metric")

    def __set_name__(self, owner: type, name: str) -> None:
        self.attribute = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Any: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            return self
        bound = self.of_host_type(_host_type(instance))
        # Not a data descriptor: from now on Python finds the series in the instance itself.
        instance.__dict__[self.attribute] = bound
        return bound

    def of_host_type(self, host_type: str) -> Any:
        """Return the series of a host type; with declared labels, their :class:`Labelled`."""
        return self._found(self.registry.family(self, ("host_type", *self.label_names)), host_type)

    def of_node(self) -> Any:
        """Return the series of a metric that belongs to the node and not to a host type."""
        return self._found(self.registry.family(self, self.label_names))

    def clear(self) -> None:
        """Expose no series of a node's metric until one is asked for again."""
        self.registry.family(self, self.label_names).clear()

    def _found(self, family: Family[Series], *first: str) -> Any:
        return Labelled(family.series, first) if self.label_names else family.series(*first)

    def release(self, instance: object) -> None:
        """End what only holds while an instance of the declaring class is in use."""


def expose(instance: object) -> None:
    """Show the metrics that an instance's class declares, at zero, before anything is counted."""
    for name in declared(type(instance)):
        getattr(instance, name)


def release(instance: object) -> None:
    """Take away what an instance that is no longer in use shows: its gauges. Counts stay."""
    for name, declaration in declared(type(instance)).items():
        if name in instance.__dict__:
            declaration.release(instance)


def declared(cls: type) -> dict[str, Declaration[Any]]:
    """Return the metrics that a class declares or inherits, by attribute."""
    found = {name: value for part in reversed(cls.__mro__) for name, value in vars(part).items()}
    return {name: value for name, value in found.items() if isinstance(value, Declaration)}


def _host_type(instance: object) -> str:
    host: Any = getattr(instance, "host")  # noqa: B009 - any class may declare metrics
    found: str = getattr(host, "host_type", None) or host.domain
    return found


class Counter(Declaration[Count]):
    """A number that only grows. ``self.name.inc()``."""

    kind = "counter"

    def new_series(self) -> Count:
        """Return a counter at zero."""
        return Count()


class Gauge(Declaration[Level]):
    """A number that goes up and down. ``self.name.set(value)``."""

    kind = "gauge"

    def new_series(self) -> Level:
        """Return a gauge at zero."""
        return Level()

    def of_host_type(self, host_type: str) -> Any:
        """Return a series of one's own, of a host type; see :class:`Family`."""
        family = self.registry.family(self, ("host_type", *self.label_names))
        return Labelled(family.part, (host_type,)) if self.label_names else family.part(host_type)

    def release(self, instance: object) -> None:
        """Expose the instance's levels no longer."""
        bound = instance.__dict__.pop(self.attribute)
        family = self.registry.family(self, ("host_type", *self.label_names))
        for level in bound if isinstance(bound, Labelled) else (bound,):
            family.forget(level)


class Histogram(Declaration[Distribution]):
    """A distribution of values. ``self.name.observe(seconds)``."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        doc: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = DEFAULT_BUCKETS,
        registry: Registry = REGISTRY,
    ) -> None:
        """Declare a histogram; ``buckets`` are upper bounds, ascending, inclusive."""
        super().__init__(name, doc, labels, registry=registry)
        self.buckets = tuple(buckets)

    def new_series(self) -> Distribution:
        """Return a histogram without observations."""
        return Distribution(self.buckets)


def number(value: float) -> str:
    """Write a number as Prometheus reads it."""
    if value == inf:
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(float(value))
