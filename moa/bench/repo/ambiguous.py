"""Six requests that can be read in two ways. What else is in the repository says which is meant."""

from moa.bench.repo.repository import Edit, Repository, tests, text

REPOSITORIES = (
    Repository(
        "sort-names",
        "ambiguous",
        "The list of members should be sorted by name.",
        {
            "README.md": "Lists of people are sorted by family name, then by given name, as everywhere in this house.\n",
            "members.py": text("""
                def listed(members: list[str]) -> list[str]:
                    \"\"\"The members (given name, family name) in the order of the list.\"\"\"
                    return members
            """),
            "test_members.py": tests(
                "from members import listed",
                """
                def test_sorted(self):
                    self.assertEqual(listed(["Bo Young", "Al Adams"]), ["Al Adams", "Bo Young"])
                """,
            ),
        },
        (
            Edit(
                "members.py",
                "return members\n",
                "return sorted(members, key=lambda name: (name.split()[-1], name))\n",
            ),
        ),
        (Edit("members.py", "return members\n", "return sorted(members)\n"),),
        {
            "test_hidden.py": tests(
                "from members import listed",
                """
                def test_family_names(self):
                    self.assertEqual(listed(["Al Young", "Bo Adams"]), ["Bo Adams", "Al Young"])
                """,
            )
        },
    ),
    Repository(
        "round",
        "ambiguous",
        "Round amounts to two places.",
        {
            "NOTES.md": "Amounts are decimals. A half cent is always rounded away from zero (the tax office asks for that).\n",
            "amounts.py": text("""
                from decimal import Decimal


                def rounded(amount: Decimal) -> Decimal:
                    return amount
            """),
            "test_amounts.py": tests(
                "from decimal import Decimal\n\nfrom amounts import rounded",
                """
                def test_two_places(self):
                    self.assertEqual(rounded(Decimal("1.239")), Decimal("1.24"))
                """,
            ),
        },
        (
            Edit("amounts.py", "from decimal import Decimal\n", "from decimal import ROUND_HALF_UP, Decimal\n"),
            Edit("amounts.py", "return amount\n", 'return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)\n'),
        ),
        (Edit("amounts.py", "return amount\n", "return round(amount, 2)\n"),),
        {
            "test_hidden.py": tests(
                "from decimal import Decimal\n\nfrom amounts import rounded",
                """
                def test_halves(self):
                    self.assertEqual(rounded(Decimal("0.125")), Decimal("0.13"))
                    self.assertEqual(rounded(Decimal("-0.125")), Decimal("-0.13"))
                """,
            )
        },
    ),
    Repository(
        "clear-cache",
        "ambiguous",
        "`clear` should empty the cache.",
        {
            "cache.py": text("""
                class Cache:
                    \"\"\"Values by key. Pinned keys stay until they are unpinned, whatever is cleared or dropped.\"\"\"

                    def __init__(self):
                        self.values, self.pinned = {}, set()

                    def put(self, key, value, *, pin=False):
                        self.values[key] = value
                        if pin:
                            self.pinned.add(key)

                    def unpin(self, key):
                        self.pinned.discard(key)

                    def drop(self, key):
                        if key not in self.pinned:
                            self.values.pop(key, None)

                    def clear(self):
                        pass
            """),
            "test_cache.py": tests(
                "from cache import Cache",
                """
                def test_clear(self):
                    cache = Cache()
                    cache.put("a", 1)
                    cache.clear()
                    self.assertEqual(cache.values, {})
                """,
            ),
        },
        (Edit("cache.py", "        pass\n", "        for key in list(self.values):\n            self.drop(key)\n"),),
        (Edit("cache.py", "        pass\n", "        self.values.clear()\n"),),
        {
            "test_hidden.py": tests(
                "from cache import Cache",
                """
                def test_pinned(self):
                    cache = Cache()
                    cache.put("a", 1, pin=True)
                    cache.put("b", 2)
                    cache.clear()
                    self.assertEqual(cache.values, {"a": 1})
                """,
            )
        },
    ),
    Repository(
        "duplicates",
        "ambiguous",
        "Remove duplicates from the result of `merge`.",
        {
            "merge.py": text("""
                def merge(old: list[dict], new: list[dict]) -> list[dict]:
                    \"\"\"Both lists as one, by `id`. Where both have an entry, the newer one is right; the order is that of the first sight.\"\"\"
                    return old + new
            """),
            "test_merge.py": tests(
                "from merge import merge",
                """
                def test_same(self):
                    self.assertEqual(merge([{"id": 1}], [{"id": 1}, {"id": 2}]), [{"id": 1}, {"id": 2}])
                """,
            ),
        },
        (Edit("merge.py", "return old + new", 'return list({entry["id"]: entry for entry in old + new}.values())'),),
        (Edit("merge.py", "return old + new", "return old + [entry for entry in new if entry not in old]"),),
        {
            "test_hidden.py": tests(
                "from merge import merge",
                """
                def test_the_newer_one_is_right(self):
                    found = merge([{"id": 1, "v": "old"}, {"id": 3}], [{"id": 2}, {"id": 1, "v": "new"}])
                    self.assertEqual(found, [{"id": 1, "v": "new"}, {"id": 3}, {"id": 2}])
                """,
            )
        },
    ),
    Repository(
        "week",
        "ambiguous",
        "Add `week_start(day)`: the first day of the week that a day is in.",
        {
            "calendar_rules.md": "Weeks begin on Sunday in all our reports.\n",
            "weeks.py": text("""
                from datetime import date, timedelta


                def week_start(day: date) -> date:
                    raise NotImplementedError


                def week_end(day: date) -> date:
                    return week_start(day) + timedelta(days=6)
            """),
            "test_weeks.py": tests(
                "from datetime import date\n\nfrom weeks import week_end, week_start",
                """
                def test_inside(self):
                    day = date(2026, 11, 26)
                    self.assertTrue(week_start(day) <= day <= week_end(day))
                """,
            ),
        },
        (Edit("weeks.py", "raise NotImplementedError", "return day - timedelta(days=day.isoweekday() % 7)"),),
        (Edit("weeks.py", "raise NotImplementedError", "return day - timedelta(days=day.weekday())"),),
        {
            "test_hidden.py": tests(
                "from datetime import date\n\nfrom weeks import week_start",
                """
                def test_sunday(self):
                    self.assertEqual(week_start(date(2026, 11, 26)), date(2026, 11, 22))
                    self.assertEqual(week_start(date(2026, 11, 22)), date(2026, 11, 22))
                """,
            )
        },
    ),
    Repository(
        "limit",
        "ambiguous",
        "Limit the length of a comment to 20.",
        {
            "comments.py": text("""
                def title(text: str) -> str:
                    \"\"\"At most 20 characters; what is cut ends with an ellipsis, which counts.\"\"\"
                    return text if len(text) <= 20 else text[:19] + "…"


                def comment(text: str) -> str:
                    return text
            """),
            "CONTRIBUTING.md": "All texts that users write are cut in the same way (see `title`).\n",
            "test_comments.py": tests(
                "from comments import comment",
                """
                def test_limit(self):
                    self.assertLessEqual(len(comment("x" * 50)), 20)
                    self.assertEqual(comment("short"), "short")
                """,
            ),
        },
        (
            Edit(
                "comments.py",
                "def comment(text: str) -> str:\n    return text\n",
                "def comment(text: str) -> str:\n    return title(text)\n",
            ),
        ),
        (
            Edit(
                "comments.py",
                "def comment(text: str) -> str:\n    return text\n",
                "def comment(text: str) -> str:\n    return text[:20]\n",
            ),
        ),
        {
            "test_hidden.py": tests(
                "from comments import comment",
                """
                def test_the_same_cut(self):
                    self.assertEqual(comment("x" * 50), "x" * 19 + "…")
                    self.assertEqual(comment("x" * 20), "x" * 20)
                """,
            )
        },
    ),
)
