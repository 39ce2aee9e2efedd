"""Access control lists and access rules.

An ACL is a named set of addresses, an access rule gives a value to each address: the first line
whose ACL contains it decides.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import translate
from typing import TypeAlias

from mongoosetw.config.schema import AccessRule, AclCondition
from mongoosetw.xmpp.jid import JID

AccessValue: TypeAlias = str | int
"""``"allow"``, ``"deny"``, a number, or a name such as a shaper's."""

ALL = "all"
NONE = "none"
ALLOW = "allow"
DENY = "deny"
Test: TypeAlias = Callable[[JID], bool]

BUILT_IN_ACLS = frozenset({ALL, NONE})
BUILT_IN_RULES: Mapping[str, AccessValue] = {ALL: ALLOW, NONE: DENY}


@dataclass(frozen=True, slots=True)
class Domains:
    """The domains that conditions speak of.

    :ivar current: the domain for which an ACL is asked.
    :ivar is_hosted: tells whether this server serves a domain.
    """

    current: str
    is_hosted: Callable[[str], bool]


class Acl:
    """Named sets of addresses, as one domain sees them.

    An ACL's conditions are alternatives; a condition matches if everything that it names matches.
    """

    def __init__(
        self, definitions: Mapping[str, tuple[AclCondition, ...]], domains: Domains
    ) -> None:
        """
        :param definitions: the ``[acl]`` section.
        :param domains: the domain asked for, and the others that are served.
        :raises re.error: if a regular expression is not valid.
        """
        self._tests: dict[str, tuple[Test, ...]] = {
            name: tuple(_condition_test(condition, domains) for condition in conditions)
            for name, conditions in definitions.items()
        }
        self._tests[ALL] = (lambda jid: True,)
        self._tests[NONE] = ()

    def matches(self, name: str, jid: JID) -> bool:
        """Tell whether the ACL contains the address; one that is not defined contains none."""
        return any(test(jid) for test in self._tests.get(name, ()))


class Access:
    """Access rules, as one domain sees them."""

    def __init__(self, rules: Mapping[str, tuple[AccessRule, ...]], acl: Acl) -> None:
        """
        :param rules: the ``[access]`` section.
        :param acl: the lists that the rules name.
        """
        self._rules = rules
        self._acl = acl

    def check(self, rule: str, jid: JID) -> AccessValue:
        """Return the value of the first line that matches, ``"deny"`` if none does.

        Rules ``all`` (allow) and ``none`` (deny) always exist; an undefined one denies.
        """
        for line in self._rules.get(rule, ()):
            if self._acl.matches(line.acl, jid):
                return line.value
        return DENY if rule in self._rules else BUILT_IN_RULES.get(rule, DENY)

    def allows(self, rule: str, jid: JID) -> bool:
        """Tell whether the rule's value for this address is ``"allow"``."""
        return self.check(rule, jid) == ALLOW

    def number(self, rule: str, jid: JID, default: float) -> float:
        """Return a rule's value as a number (such as ``max_user_sessions``).

        :param default: the result if the rule does not exist or its value is no number.
        """
        if rule not in self._rules:
            return default
        value = self.check(rule, jid)
        if value == "infinity":
            return float("inf")
        return value if isinstance(value, int) else default


def _condition_test(condition: AclCondition, domains: Domains) -> Test:
    c = condition
    tests = (
        _domain_test(c, domains),
        # Local and domain parts of a JID are lower case by now (RFC 7622 §3.2, §3.3.1).
        *_part_tests(lambda jid: jid.local or "", _lower(c.user), c.user_regexp, c.user_glob),
        *_part_tests(lambda jid: jid.domain, _lower(c.server), c.server_regexp, c.server_glob),
        *_part_tests(
            lambda jid: jid.resource or "", c.resource, c.resource_regexp, c.resource_glob
        ),
    )
    return lambda jid: all(test(jid) for test in tests)


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _domain_test(condition: AclCondition, domains: Domains) -> Test:
    names_server = condition.server or condition.server_regexp or condition.server_glob
    match condition.match or (ALL if names_server else "current_domain"):
        case "all":
            return lambda jid: True
        case "any_hosted_domain":
            return lambda jid: domains.is_hosted(jid.domain)
        case "current_domain":
            return lambda jid: jid.domain == domains.current
        case _:
            return lambda jid: False


def _part_tests(
    part: Callable[[JID], str], text: str | None, regexp: str | None, glob: str | None
) -> Iterator[Test]:
    if text is not None:
        yield lambda jid: part(jid) == text
    if regexp is not None:
        search = re.compile(regexp).search
        yield lambda jid: search(part(jid)) is not None
    if glob is not None:
        whole = re.compile(translate(glob)).match
        yield lambda jid: whole(part(jid)) is not None
