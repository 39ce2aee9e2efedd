"""How options are declared: fields of frozen dataclasses that carry their own documentation.

A section of the configuration, or a module's table, is a frozen dataclass::

    @dataclass(frozen=True)
    class PingOptions:
        send_pings: bool = option(False, doc="Ping clients that are silent.")
        ping_interval: float = option(60.0, minimum=1, unit="seconds", doc="Silence before a ping.")

Field types: ``bool``, ``int``, ``float``, ``str``, ``tuple[T, ...]``, ``Literal[...]``,
``T | None``, ``int | Infinity``, ``dict[str, T]``, and other such dataclasses.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from typing import Annotated, Any, Final, TypeAlias, TypeVar, cast, overload

T = TypeVar("T")


class _Infinite:
    """Marks the annotation :data:`Infinity`."""


class _Required(Enum):
    """The type of :data:`REQUIRED`."""

    REQUIRED = "required"


INFINITY: Final = math.inf
"""What the configuration's ``"infinity"`` becomes: greater than every number."""

Infinity: TypeAlias = Annotated[float, _Infinite]
"""In ``int | Infinity`` or ``float | Infinity``: the option may also be ``"infinity"``."""

REQUIRED: Final = _Required.REQUIRED
"""The default of an option that the configuration has to give."""


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """What a field declared about itself.

    :ivar doc: one or two sentences for the operator.
    :ivar minimum: smallest allowed number, or None.
    :ivar maximum: greatest allowed number, or None.
    :ivar unit: of a number, such as ``"seconds"`` or ``"bytes"``.
    :ivar choices: the allowed values (of every element, for lists), or None.
    :ivar secret: the value never appears in an error, a ``repr`` or a listing of changes.
    :ivar path: the value is a file's path; a relative one counts from the configuration file.
    :ivar is_section: the field is a table (or several) rather than a value.
    :ivar form: what a string (or each element of a list) has to be.
    :ivar rule: the value names an access rule.
    """

    doc: str
    minimum: float | None = None
    maximum: float | None = None
    unit: str | None = None
    choices: tuple[Any, ...] | None = None
    secret: bool = False
    path: bool = False
    is_section: bool = False
    form: "Form | None" = None
    rule: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """What a string has to be.

    :ivar name: such as ``an address``, for errors and the documentation.
    :ivar fits: tells whether a string is one.
    """

    name: str
    fits: Callable[[str], bool]


@overload
def option(
    *,
    doc: str,
    minimum: float | None = None,
    maximum: float | None = None,
    unit: str | None = None,
    choices: Sequence[Any] | None = None,
    secret: bool = False,
    path: bool = False,
    form: Form | None = None,
    rule: bool = False,
) -> Any: ...


@overload
def option(
    default: T,
    *,
    doc: str,
    minimum: float | None = None,
    maximum: float | None = None,
    unit: str | None = None,
    choices: Sequence[Any] | None = None,
    secret: bool = False,
    path: bool = False,
    form: Form | None = None,
    rule: bool = False,
) -> T: ...


def option(
    default: Any = REQUIRED,
    *,
    doc: str,
    minimum: float | None = None,
    maximum: float | None = None,
    unit: str | None = None,
    choices: Sequence[Any] | None = None,
    secret: bool = False,
    path: bool = False,
    form: Form | None = None,
    rule: bool = False,
) -> Any:
    """Declare one option of a section.

    :param default: the value if the configuration names none; without it the option is required.
    :param doc: one or two sentences for the operator.
    :param minimum: smallest allowed number.
    :param maximum: greatest allowed number.
    :param unit: unit of the number, for the documentation and in errors.
    :param choices: allowed values; of a list: of each of its elements.
    :param secret: never show the value (passwords).
    :param path: a file's path; a relative one counts from the configuration file's directory.
    :param form: what a string, or each of a list's, has to be; see ``config.forms``.
    :param rule: the string names an access rule, which has to be defined if it is given.
    """
    info = OptionInfo(
        doc=doc,
        minimum=minimum,
        maximum=maximum,
        unit=unit,
        choices=None if choices is None else tuple(choices),
        secret=secret,
        path=path,
        form=form,
        rule=rule,
    )
    return _declare(info, default)


def section(cls: type[T], doc: str) -> T:
    """Declare a nested section: a table whose options are the fields of ``cls``.

    Where the configuration has no such table it is ``cls()`` (so each option needs a default).
    """
    return cast(T, _declare(OptionInfo(doc=doc, is_section=True), factory=cls))


def optional_section(doc: str) -> Any:
    """Declare a nested section that is None where the configuration has no such table."""
    return _declare(OptionInfo(doc=doc, is_section=True), None)


def sections(doc: str) -> Any:
    """Declare an array of tables, ``[[name]]``: a field of type ``tuple[cls, ...]``."""
    return _declare(OptionInfo(doc=doc, is_section=True), ())


def named_sections(doc: str) -> Any:
    """Declare tables by free names, ``[name.anything]``: a field of type ``dict[str, cls]``."""
    return _declare(OptionInfo(doc=doc, is_section=True), factory=dict)


def _declare(info: OptionInfo, default: Any = REQUIRED, *, factory: Any = None) -> Any:
    # kw_only lets a required option stand after one that has a default.
    return field(
        default=MISSING if default is REQUIRED or factory is not None else default,
        default_factory=MISSING if factory is None else factory,
        repr=not info.secret,
        kw_only=True,
        metadata={"option": info},
    )


def options_of(cls: type[Any]) -> Mapping[str, OptionInfo]:
    """Return the declared options of a section's class, by name, in order of declaration.

    :raises TypeError: if a field was not declared with :func:`option` or :func:`section`.
    """
    found: dict[str, OptionInfo] = {}
    for item in fields(cls):
        info = item.metadata.get("option")
        if not isinstance(info, OptionInfo):
            raise TypeError(f"{cls.__name__}.{item.name} is not declared with option(doc=…)")
        found[item.name] = info
    return found
