"""Six bugs that are mended in more than one file."""

from moa.bench.repo.repository import Edit, Repository, tests, text

REPOSITORIES = (
    Repository(
        "currency",
        "several-files",
        "Prices are in cents inside of the shop. The cart and the receipt still treat them as whole units. Make both right.",
        {
            "cart.py": text("""
                SHIPPING = 5  # below 50 units


                def total(prices: list[int]) -> int:
                    \"\"\"What a cart costs, in cents. `prices` are in cents; shipping is 5 units below 50 units.\"\"\"
                    goods = sum(prices)
                    return goods + (SHIPPING if goods < 50 else 0)
            """),
            "receipt.py": text("""
                from cart import total


                def receipt(prices: list[int]) -> str:
                    return f"total: {total(prices)}.00"
            """),
            "test_shop.py": tests(
                "from receipt import receipt",
                """
                def test_receipt(self):
                    self.assertEqual(receipt([1250, 99]), "total: 18.49")
                """,
            ),
        },
        (
            Edit("cart.py", "SHIPPING = 5  # below 50 units", "SHIPPING = 500  # cents, below 50 units"),
            Edit("cart.py", "goods < 50 else", "goods < 5000 else"),
            Edit("receipt.py", "{total(prices)}.00", "{total(prices) // 100}.{total(prices) % 100:02}"),
        ),
        (Edit("receipt.py", "{total(prices)}.00", "{total(prices) / 100:.2f}"),),
        {
            "test_hidden.py": tests(
                "from cart import total\nfrom receipt import receipt",
                """
                def test_free_shipping(self):
                    self.assertEqual(total([5000]), 5000)
                    self.assertEqual(receipt([4999]), "total: 54.99")
                """,
            )
        },
    ),
    Repository(
        "rename-field",
        "several-files",
        "Users have a `mail` now instead of an `email`. Store, form and export must agree on the new name.",
        {
            "store.py": text("""
                USERS: list[dict] = []


                def add(user: dict) -> None:
                    if "email" not in user:
                        raise ValueError("a user needs an email")
                    USERS.append(user)
            """),
            "form.py": text("""
                import store


                def submit(name: str, address: str) -> None:
                    store.add({"name": name, "mail": address})
            """),
            "export.py": text("""
                import store


                def lines() -> list[str]:
                    return [f"{user['name']} <{user['email']}>" for user in store.USERS]
            """),
            "test_users.py": tests(
                "import export\nimport form",
                """
                def test_all_the_way(self):
                    form.submit("Ada", "ada@example.org")
                    self.assertIn("Ada <ada@example.org>", export.lines())
                """,
            ),
        },
        (
            Edit("store.py", '"email" not in user', '"mail" not in user'),
            Edit("store.py", "a user needs an email", "a user needs a mail"),
            Edit("export.py", "user['email']", "user['mail']"),
        ),
        (Edit("form.py", '"mail": address', '"email": address'),),
        {
            "test_hidden.py": tests(
                "import store",
                """
                def test_the_new_name(self):
                    store.add({"name": "Bob", "mail": "b@example.org"})
                    with self.assertRaises(ValueError):
                        store.add({"name": "Eve", "email": "e@example.org"})
                """,
            )
        },
    ),
    Repository(
        "units",
        "several-files",
        "The alarm never rings: the sensor reports Celsius, the alarm expects Kelvin. Use Kelvin everywhere, as limits.py says.",
        {
            "limits.py": text("""
                LIMIT = 350.0  # kelvin, as every temperature in this program
            """),
            "sensor.py": text("""
                def read(raw: int) -> float:
                    \"\"\"The temperature of a raw value: tenths of a degree Celsius.\"\"\"
                    return raw / 10
            """),
            "display.py": text("""
                from sensor import read


                def shown(raw: int) -> str:
                    \"\"\"What the display shows, in degrees Celsius.\"\"\"
                    return f"{read(raw):.1f} C"
            """),
            "alarm.py": text("""
                from limits import LIMIT
                from sensor import read


                def rings(raw: int) -> bool:
                    return read(raw) > LIMIT
            """),
            "test_alarm.py": tests(
                "from alarm import rings\nfrom display import shown",
                """
                def test_rings(self):
                    self.assertTrue(rings(900))
                    self.assertFalse(rings(200))

                def test_display(self):
                    self.assertEqual(shown(215), "21.5 C")
                """,
            ),
        },
        (
            Edit("sensor.py", "return raw / 10", "return raw / 10 + 273.15"),
            Edit("sensor.py", "The temperature of a raw value:", "The temperature in kelvin of a raw value:"),
            Edit("display.py", "{read(raw):.1f}", "{read(raw) - 273.15:.1f}"),
        ),
        (Edit("sensor.py", "return raw / 10", "return raw / 10 + 273.15"),),
        {
            "test_hidden.py": tests(
                "from sensor import read",
                """
                def test_kelvin(self):
                    self.assertAlmostEqual(read(0), 273.15)
                """,
            )
        },
    ),
    Repository(
        "events",
        "several-files",
        "A handler that unsubscribes while an event is sent makes the next handler miss it, and handlers stay after close().",
        {
            "bus.py": text("""
                class Bus:
                    def __init__(self):
                        self.handlers = []

                    def subscribe(self, handler):
                        self.handlers.append(handler)

                    def unsubscribe(self, handler):
                        self.handlers.remove(handler)

                    def send(self, event):
                        for handler in self.handlers:
                            handler(event)
            """),
            "view.py": text("""
                class View:
                    def __init__(self, bus):
                        self.bus, self.seen = bus, []
                        bus.subscribe(self.on_event)

                    def on_event(self, event):
                        self.seen.append(event)

                    def close(self):
                        self.bus = None
            """),
            "test_bus.py": tests(
                "from bus import Bus\nfrom view import View",
                """
                def test_once(self):
                    bus, seen = Bus(), []

                    def once(event):
                        bus.unsubscribe(once)

                    bus.subscribe(once)
                    bus.subscribe(seen.append)
                    bus.send("x")
                    self.assertEqual(seen, ["x"])

                def test_close(self):
                    bus = Bus()
                    view = View(bus)
                    view.close()
                    bus.send("x")
                    self.assertEqual(view.seen, [])
                """,
            ),
        },
        (
            Edit("bus.py", "for handler in self.handlers:", "for handler in list(self.handlers):"),
            Edit("view.py", "self.bus = None", "self.bus.unsubscribe(self.on_event)"),
        ),
        (Edit("bus.py", "for handler in self.handlers:", "for handler in list(self.handlers):"),),
    ),
    Repository(
        "config",
        "several-files",
        "A setting that is set to 0 or to an empty text in the file is replaced by its default. Both readers do that.",
        {
            "defaults.py": text("""
                DEFAULTS = {"retries": 3, "prefix": "app"}
            """),
            "from_file.py": text("""
                from defaults import DEFAULTS


                def setting(found: dict, name: str):
                    return found.get(name) or DEFAULTS[name]
            """),
            "from_env.py": text("""
                from defaults import DEFAULTS


                def setting(env: dict[str, str], name: str):
                    value = env.get(f"APP_{name.upper()}")
                    if not value:
                        return DEFAULTS[name]
                    return type(DEFAULTS[name])(value)
            """),
            "test_config.py": tests(
                "import from_env\nimport from_file",
                """
                def test_file(self):
                    self.assertEqual(from_file.setting({"retries": 0}, "retries"), 0)

                def test_env(self):
                    self.assertEqual(from_env.setting({"APP_PREFIX": ""}, "prefix"), "")
                """,
            ),
        },
        (
            Edit("from_file.py", "found.get(name) or DEFAULTS[name]", "found.get(name, DEFAULTS[name])"),
            Edit("from_env.py", "if not value:", "if value is None:"),
        ),
        (Edit("from_file.py", "found.get(name) or DEFAULTS[name]", "found.get(name, DEFAULTS[name])"),),
        {
            "test_hidden.py": tests(
                "import from_env\nimport from_file",
                """
                def test_defaults(self):
                    self.assertEqual(from_file.setting({}, "retries"), 3)
                    self.assertEqual(from_env.setting({}, "prefix"), "app")
                    self.assertEqual(from_env.setting({"APP_RETRIES": "0"}, "retries"), 0)
                """,
            )
        },
    ),
    Repository(
        "quotes",
        "several-files",
        "A value with a comma or a quote does not survive writing and reading. Writer and reader must agree on the usual CSV quoting.",
        {
            "writer.py": text("""
                def line(values: list[str]) -> str:
                    return ",".join(values)
            """),
            "reader.py": text("""
                def values(line: str) -> list[str]:
                    return line.split(",")
            """),
            "test_round.py": tests(
                "from reader import values\nfrom writer import line",
                """
                def test_round(self):
                    for row in (["a", "b"], ["a,b", "c"], ['say "hi"', ""]):
                        self.assertEqual(values(line(row)), row)
                """,
            ),
        },
        (
            Edit(
                "writer.py",
                'def line(values: list[str]) -> str:\n    return ",".join(values)\n',
                'def line(values: list[str]) -> str:\n    return ",".join(map(_quoted, values))\n\n\n'
                "def _quoted(value: str) -> str:\n"
                "    if any(mark in value for mark in ',\"\\n'):\n"
                "        return '\"' + value.replace('\"', '\"\"') + '\"'\n    return value\n",
            ),
            Edit(
                "reader.py",
                'def values(line: str) -> list[str]:\n    return line.split(",")\n',
                "import csv\n\n\ndef values(line: str) -> list[str]:\n    return next(csv.reader([line]))\n",
            ),
        ),
        (Edit("writer.py", '",".join(values)', '",".join(f\'"{value}"\' for value in values)'),),
        {
            "test_hidden.py": tests(
                "from writer import line",
                """
                def test_plain_values_stay_plain(self):
                    self.assertEqual(line(["a", "b"]), "a,b")
                    self.assertEqual(line(['a"b']), '"a""b"')
                """,
            )
        },
    ),
)
