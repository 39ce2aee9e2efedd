"""Tests of ACLs and access rules."""

from twisted.trial.unittest import SynchronousTestCase

from mongoosetw.config.acl import Access, Acl, Domains
from mongoosetw.config.schema import AccessRule, AclCondition
from mongoosetw.xmpp.jid import JID

HOSTED = {"here.org", "also.org"}
DOMAINS = Domains("here.org", HOSTED.__contains__)


def matches(jid: str, *conditions: AclCondition) -> bool:
    """Tell whether an ACL of these conditions contains an address, as here.org sees it."""
    return Acl({"us": conditions}, DOMAINS).matches("us", JID.parse(jid))


class AclTests(SynchronousTestCase):
    """Conditions on addresses."""

    def test_match(self) -> None:
        """The four kinds of match look at the domain."""
        for kind, domains in (
            ("all", ["here.org", "also.org", "far.org"]),
            ("any_hosted_domain", ["here.org", "also.org"]),
            ("current_domain", ["here.org"]),
            ("none", []),
        ):
            condition = AclCondition(match=kind)  # type: ignore[arg-type]
            for domain in ("here.org", "also.org", "far.org"):
                self.assertEqual(
                    matches(f"a@{domain}", condition), domain in domains, (kind, domain)
                )

    def test_user_is_of_the_current_domain(self) -> None:
        """A user's name alone means the account on the domain that asks."""
        condition = AclCondition(user="Alice")
        self.assertTrue(matches("alice@here.org/phone", condition))
        self.assertFalse(matches("alice@far.org", condition))
        self.assertFalse(matches("alice2@here.org", condition))

    def test_server(self) -> None:
        """A condition on the server may name a foreign domain."""
        self.assertTrue(matches("a@far.org", AclCondition(server="Far.org")))
        self.assertFalse(matches("a@here.org", AclCondition(server="far.org")))

    def test_resource(self) -> None:
        """Resources differ by case."""
        self.assertTrue(matches("a@here.org/Phone", AclCondition(resource="Phone")))
        self.assertFalse(matches("a@here.org/phone", AclCondition(resource="Phone")))
        self.assertFalse(matches("a@here.org", AclCondition(resource="Phone")))

    def test_patterns(self) -> None:
        """Regular expressions are found anywhere, globs are for the whole part."""
        self.assertTrue(matches("xadminx@here.org", AclCondition(user_regexp="admin")))
        self.assertFalse(matches("xadminx@here.org", AclCondition(user_regexp="^admin")))
        self.assertTrue(matches("admin1@here.org", AclCondition(user_glob="admin?")))
        self.assertFalse(matches("admin12@here.org", AclCondition(user_glob="admin?")))
        self.assertTrue(matches("a@x.far.org", AclCondition(server_glob="*.far.org")))
        self.assertTrue(matches("a@x.far.org", AclCondition(server_regexp=r"\.org$")))
        self.assertTrue(matches("a@here.org/bot7", AclCondition(resource_regexp="^bot")))
        self.assertFalse(matches("a@here.org", AclCondition(resource_glob="bot*")))

    def test_all_of_a_condition(self) -> None:
        """One condition needs all that it names; several are alternatives."""
        both = AclCondition(user="alice", server="far.org")
        self.assertTrue(matches("alice@far.org", both))
        self.assertFalse(matches("bob@far.org", both))
        self.assertTrue(matches("bob@here.org", both, AclCondition(user="bob")))

    def test_built_in(self) -> None:
        """`all` and `none` always exist; an undefined ACL contains nobody."""
        acl = Acl({}, DOMAINS)
        found = [acl.matches(name, JID.parse("a@far.org")) for name in ("all", "none", "other")]
        self.assertEqual(found, [True, False, False])


class AccessTests(SynchronousTestCase):
    """Rules give values to addresses."""

    def setUp(self) -> None:
        """Define one ACL and two rules."""
        acl = Acl({"admin": (AclCondition(user="alice"),)}, DOMAINS)
        rules = {
            "sessions": (
                AccessRule(acl="admin", value="infinity"),
                AccessRule(acl="all", value=10),
            ),
            "configure": (AccessRule(acl="admin", value="allow"),),
            "all": (AccessRule(acl="admin", value="deny"),),
        }
        self.access = Access(rules, acl)
        self.alice, self.bob = JID.parse("alice@here.org"), JID.parse("bob@here.org")

    def test_first_match_wins(self) -> None:
        """The first line that matches gives the value."""
        self.assertEqual(self.access.check("sessions", self.alice), "infinity")
        self.assertEqual(self.access.check("sessions", self.bob), 10)

    def test_no_match(self) -> None:
        """Whom no line matches is denied, as is everybody by a rule that is not defined."""
        self.assertTrue(self.access.allows("configure", self.alice))
        self.assertEqual(self.access.check("configure", self.bob), "deny")
        self.assertEqual(self.access.check("undefined", self.alice), "deny")

    def test_built_in(self) -> None:
        """`none` denies everybody; `all` allows unless it is defined otherwise."""
        self.assertFalse(self.access.allows("none", self.alice))
        self.assertTrue(Access({}, Acl({}, DOMAINS)).allows("all", self.bob))
        self.assertFalse(self.access.allows("all", self.alice))

    def test_number(self) -> None:
        """A rule may give a limit."""
        self.assertEqual(self.access.number("sessions", self.bob, 5), 10)
        self.assertEqual(self.access.number("sessions", self.alice, 5), float("inf"))
        self.assertEqual(self.access.number("configure", self.alice, 5), 5)
        self.assertEqual(self.access.number("undefined", self.alice, 5), 5)
