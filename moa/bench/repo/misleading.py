"""Six bugs that are not where a comment, a message or the user says they are."""

from moa.bench.repo.repository import Edit, Repository, tests, text

REPOSITORIES = (
    Repository(
        "parser-blamed",
        "misleading",
        "The parser drops the last line of a file. Correct the parser, please.",
        {
            "source.py": text("""
                def read(data: bytes) -> list[str]:
                    \"\"\"The lines of a file, without their ends.\"\"\"
                    return data.decode().split("\\n")[:-1]
            """),
            "parser.py": text("""
                from source import read


                def parse(data: bytes) -> dict[str, str]:
                    # FIXME: loses the last pair
                    pairs = (line.split("=", 1) for line in read(data) if "=" in line)
                    return {key: value for key, value in pairs}
            """),
            "test_parser.py": tests(
                "from parser import parse",
                """
                def test_last(self):
                    self.assertEqual(parse(b"a=1\\nb=2"), {"a": "1", "b": "2"})
                    self.assertEqual(parse(b"a=1\\nb=2\\n"), {"a": "1", "b": "2"})
                """,
            ),
        },
        (Edit("source.py", 'data.decode().split("\\n")[:-1]', "data.decode().splitlines()"),),
        (Edit("parser.py", "for line in read(data) if", 'for line in read(data + b"\\n") if'),),
        {
            "test_hidden.py": tests(
                "from source import read",
                """
                def test_lines(self):
                    self.assertEqual(read(b"x\\ny"), ["x", "y"])
                    self.assertEqual(read(b"x\\n"), ["x"])
                """,
            )
        },
    ),
    Repository(
        "stale-comment",
        "misleading",
        "Discounts come out wrong for members. I think the table in rates.py has the wrong figures.",
        {
            "rates.py": text("""
                # percent, by years of membership
                RATES = {0: 0, 1: 5, 5: 10}
            """),
            "discount.py": text("""
                from rates import RATES


                def rate(years: int) -> int:
                    \"\"\"The rate of the longest membership that was reached.\"\"\"
                    reached = [since for since in RATES if since <= years]
                    return RATES[min(reached)]
            """),
            "test_discount.py": tests(
                "from discount import rate",
                """
                def test_rates(self):
                    self.assertEqual([rate(years) for years in (0, 1, 7)], [0, 5, 10])
                """,
            ),
        },
        (Edit("discount.py", "min(reached)", "max(reached)"),),
        (Edit("rates.py", "{0: 0, 1: 5, 5: 10}", "{0: 10, 1: 5, 5: 0}"),),
        {
            "test_hidden.py": tests(
                "from rates import RATES",
                """
                def test_the_table_stays(self):
                    self.assertEqual(RATES, {0: 0, 1: 5, 5: 10})
                """,
            )
        },
    ),
    Repository(
        "error-elsewhere",
        "misleading",
        "`report.render` fails with a KeyError for new customers. Make it tolerate a missing 'country'.",
        {
            "customers.py": text("""
                def new(name: str, country: str = "CH") -> dict:
                    \"\"\"A customer. Each has a country: tax depends on it.\"\"\"
                    customer = {"name": name}
                    if country != "CH":
                        customer["country"] = country
                    return customer
            """),
            "tax.py": text("""
                def rate(customer: dict) -> float:
                    return 0.081 if customer.get("country") == "CH" else 0.0
            """),
            "report.py": text("""
                from tax import rate


                def render(customer: dict) -> str:
                    return f"{customer['name']} ({customer['country']}): {rate(customer):.1%}"
            """),
            "test_report.py": tests(
                "from customers import new\nfrom report import render",
                """
                def test_new(self):
                    self.assertEqual(render(new("Ada")), "Ada (CH): 8.1%")
                """,
            ),
        },
        (
            Edit(
                "customers.py",
                '    customer = {"name": name}\n    if country != "CH":\n        customer["country"] = country\n    return customer\n',
                '    return {"name": name, "country": country}\n',
            ),
        ),
        (
            Edit(
                "report.py",
                "{customer['name']} ({customer['country']}): {rate(customer):.1%}",
                "{customer['name']} ({customer.get('country', 'CH')}): {rate({'country': 'CH', **customer}):.1%}",
            ),
        ),
        {
            "test_hidden.py": tests(
                "from customers import new\nfrom tax import rate",
                """
                def test_tax(self):
                    self.assertEqual(rate(new("Ada")), 0.081)
                    self.assertEqual(rate(new("Eve", "DE")), 0.0)
                """,
            )
        },
    ),
    Repository(
        "time-zone",
        "misleading",
        "Meetings are shown an hour late. It must be daylight saving time: subtract an hour in show.py.",
        {
            "meetings.py": text("""
                def parse(text: str) -> int:
                    \"\"\"Minutes since midnight of HH:MM.\"\"\"
                    hours, minutes = text.split(":")
                    return int(hours) * 60 + int(minutes)


                def end(start: str, minutes: int) -> int:
                    return parse(start) + minutes
            """),
            "show.py": text("""
                def show(minutes: int) -> str:
                    \"\"\"HH:MM of minutes since midnight.\"\"\"
                    return f"{-(-minutes // 60):02}:{minutes % 60:02}"
            """),
            "test_show.py": tests(
                "from meetings import end\nfrom show import show",
                """
                def test_end(self):
                    self.assertEqual(show(end("09:15", 30)), "09:45")
                """,
            ),
        },
        (Edit("show.py", "-(-minutes // 60)", "minutes // 60"),),
        (Edit("show.py", "-(-minutes // 60)", "-(-minutes // 60) - 1"),),
        {
            "test_hidden.py": tests(
                "from show import show",
                """
                def test_whole_hours(self):
                    self.assertEqual([show(0), show(60), show(61)], ["00:00", "01:00", "01:01"])
                """,
            )
        },
    ),
    Repository(
        "two-functions",
        "misleading",
        "`mean` in stats.py is wrong for weighted values. The division is off.",
        {
            "stats.py": text("""
                from weights import normal


                def mean(values: list[float], weights: list[float]) -> float:
                    \"\"\"The weighted mean.\"\"\"
                    shares = normal(weights)
                    return sum(value * share for value, share in zip(values, shares, strict=True))
            """),
            "weights.py": text("""
                def normal(weights: list[float]) -> list[float]:
                    \"\"\"The weights as shares that sum to 1.\"\"\"
                    return [weight / max(weights) for weight in weights]
            """),
            "test_stats.py": tests(
                "from stats import mean",
                """
                def test_mean(self):
                    self.assertAlmostEqual(mean([1, 3], [1, 1]), 2)
                    self.assertAlmostEqual(mean([1, 4], [2, 1]), 2)
                """,
            ),
        },
        (Edit("weights.py", "weight / max(weights)", "weight / sum(weights)"),),
        (Edit("stats.py", "strict=True))\n", "strict=True)) / sum(shares)\n"),),
        {
            "test_hidden.py": tests(
                "from weights import normal",
                """
                def test_shares(self):
                    self.assertEqual(normal([1, 1, 2]), [0.25, 0.25, 0.5])
                """,
            )
        },
    ),
    Repository(
        "log-message",
        "misleading",
        "The log says `cache miss` for each request, so the cache must be broken. See cache.py.",
        {
            "cache.py": text("""
                import log


                class Cache:
                    def __init__(self):
                        self._values = {}

                    def get(self, key, make):
                        if key not in self._values:
                            log.LINES.append("cache miss")
                            self._values[key] = make()
                        return self._values[key]
            """),
            "log.py": text("""
                LINES: list[str] = []
            """),
            "service.py": text("""
                from cache import Cache


                class Service:
                    def __init__(self):
                        self.cache = Cache()

                    def answer(self, question: str) -> str:
                        key = (question, object())
                        return self.cache.get(key, lambda: question.upper())
            """),
            "test_service.py": tests(
                "import log\nfrom service import Service",
                """
                def test_hit(self):
                    log.LINES.clear()
                    service = Service()
                    self.assertEqual([service.answer("a"), service.answer("a")], ["A", "A"])
                    self.assertEqual(log.LINES, ["cache miss"])
                """,
            ),
        },
        (Edit("service.py", "key = (question, object())", "key = question"),),
        (Edit("cache.py", "if key not in self._values:", "if not self._values:"),),
        {
            "test_hidden.py": tests(
                "from service import Service",
                """
                def test_two_questions(self):
                    service = Service()
                    self.assertEqual([service.answer("a"), service.answer("b")], ["A", "B"])
                """,
            )
        },
    ),
)
