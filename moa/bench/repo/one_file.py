"""Six bugs of one line in one file."""

from moa.bench.repo.repository import Edit, Repository, tests, text

REPOSITORIES = (
    Repository(
        "paging",
        "one-file",
        "The last page of a list is empty when the number of entries is a multiple of the page size. Mend it.",
        {
            "paging.py": text("""
                def page_count(entries: int, size: int) -> int:
                    \"\"\"How many pages there are.\"\"\"
                    return entries // size + 1


                def page(items: list, number: int, size: int) -> list:
                    \"\"\"Page `number`, from 1.\"\"\"
                    start = (number - 1) * size
                    return items[start : start + size]
            """),
            "test_paging.py": tests(
                "from paging import page, page_count",
                """
                def test_count(self):
                    self.assertEqual(page_count(10, 5), 2)
                    self.assertEqual(page_count(11, 5), 3)

                def test_page(self):
                    self.assertEqual(page(list("abcde"), 2, 2), ["c", "d"])
                """,
            ),
        },
        (Edit("paging.py", "return entries // size + 1", "return -(-entries // size)"),),
        (Edit("paging.py", "return entries // size + 1", "return entries // size"),),
        {
            "test_hidden.py": tests(
                "from paging import page_count",
                """
                def test_edges(self):
                    self.assertEqual([page_count(n, 3) for n in (0, 1, 3, 4)], [0, 1, 1, 2])
                """,
            )
        },
    ),
    Repository(
        "leap-years",
        "one-file",
        "`is_leap(1900)` says True. It should be False. Please correct it.",
        {
            "leap.py": text("""
                def is_leap(year: int) -> bool:
                    return year % 4 == 0


                def days_in_february(year: int) -> int:
                    return 29 if is_leap(year) else 28
            """),
            "test_leap.py": tests(
                "from leap import days_in_february, is_leap",
                """
                def test_leap(self):
                    self.assertFalse(is_leap(1900))
                    self.assertTrue(is_leap(1996))
                    self.assertEqual(days_in_february(2023), 28)
                """,
            ),
        },
        (Edit("leap.py", "return year % 4 == 0", "return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)"),),
        (Edit("leap.py", "return year % 4 == 0", "return year % 4 == 0 and year % 100 != 0"),),
        {
            "test_hidden.py": tests(
                "from leap import is_leap",
                """
                def test_centuries(self):
                    self.assertTrue(is_leap(2000))
                    self.assertFalse(is_leap(2100))
                """,
            )
        },
    ),
    Repository(
        "tally",
        "one-file",
        "Two tallies that were made one after the other share their counts. Each should begin empty.",
        {
            "tally.py": text("""
                class Tally:
                    counts: dict[str, int] = {}

                    def add(self, word: str) -> None:
                        self.counts[word] = self.counts.get(word, 0) + 1

                    def most(self) -> str:
                        return max(self.counts, key=self.counts.get)
            """),
            "test_tally.py": tests(
                "from tally import Tally",
                """
                def test_apart(self):
                    one, other = Tally(), Tally()
                    one.add("a")
                    self.assertEqual(one.most(), "a")
                    self.assertEqual(other.counts, {})
                """,
            ),
        },
        (
            Edit(
                "tally.py",
                "    counts: dict[str, int] = {}\n",
                "    def __init__(self) -> None:\n        self.counts: dict[str, int] = {}\n",
            ),
        ),
        (Edit("tally.py", "counts: dict[str, int] = {}", "counts: dict[str, int] = dict()"),),
    ),
    Repository(
        "ranges",
        "one-file",
        "`overlap` says that ranges which only touch overlap. An end is not part of a range. Mend it.",
        {
            "ranges.py": text("""
                def overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
                    \"\"\"Whether two ranges (first, end) have a number in common; `end` is not part of a range.\"\"\"
                    return a[0] <= b[1] and b[0] <= a[1]
            """),
            "test_ranges.py": tests(
                "from ranges import overlap",
                """
                def test_touching(self):
                    self.assertFalse(overlap((0, 3), (3, 5)))
                    self.assertTrue(overlap((0, 4), (3, 5)))
                """,
            ),
        },
        (Edit("ranges.py", "a[0] <= b[1] and b[0] <= a[1]", "max(a[0], b[0]) < min(a[1], b[1])"),),
        (Edit("ranges.py", "b[0] <= a[1]", "b[0] < a[1]"),),
        {
            "test_hidden.py": tests(
                "from ranges import overlap",
                """
                def test_other_side(self):
                    self.assertFalse(overlap((3, 5), (0, 3)))

                def test_empty_ranges_have_nothing_in_common(self):
                    self.assertFalse(overlap((2, 2), (0, 5)))
                """,
            )
        },
    ),
    Repository(
        "slug",
        "one-file",
        "Slugs of titles with several spaces or a dash between words have more than one dash in a row.",
        {
            "slug.py": text("""
                import re


                def slug(title: str) -> str:
                    \"\"\"A title as a part of an address: small letters, digits and single dashes between words.\"\"\"
                    kept = re.sub(r"[^a-z0-9 -]", "", title.lower())
                    return kept.replace(" ", "-")
            """),
            "test_slug.py": tests(
                "from slug import slug",
                """
                def test_spaces(self):
                    self.assertEqual(slug("Hello   World"), "hello-world")

                def test_dash(self):
                    self.assertEqual(slug("One - two"), "one-two")
                """,
            ),
        },
        (Edit("slug.py", 'return kept.replace(" ", "-")', 'return re.sub(r"[ -]+", "-", kept).strip("-")'),),
        (Edit("slug.py", 'return kept.replace(" ", "-")', 'return re.sub(r"[ -]+", "-", kept)'),),
        {
            "test_hidden.py": tests(
                "from slug import slug",
                """
                def test_ends(self):
                    self.assertEqual(slug("  Ready? "), "ready")
                """,
            )
        },
    ),
    Repository(
        "retry",
        "one-file",
        "`retry` gives up one attempt too early: with attempts=3 the function is called twice.",
        {
            "retry.py": text("""
                def retry(call, attempts: int):
                    \"\"\"Call until it succeeds, at most `attempts` times. Raises what the last attempt raised.\"\"\"
                    for attempt in range(1, attempts):
                        try:
                            return call()
                        except ValueError as error:
                            last = error
                    raise last
            """),
            "test_retry.py": tests(
                "from retry import retry",
                """
                def test_third_time(self):
                    left = [1, 2]

                    def call():
                        if left:
                            left.pop()
                            raise ValueError
                        return "ok"

                    self.assertEqual(retry(call, 3), "ok")
                """,
            ),
        },
        (Edit("retry.py", "range(1, attempts)", "range(attempts)"),),
        (Edit("retry.py", "range(1, attempts)", "range(attempts + 1)"),),
        {
            "test_hidden.py": tests(
                "from retry import retry",
                """
                def test_counts(self):
                    calls = []

                    def call():
                        calls.append(1)
                        raise ValueError("no")

                    with self.assertRaises(ValueError):
                        retry(call, 3)
                    self.assertEqual(len(calls), 3)
                """,
            )
        },
    ),
)
