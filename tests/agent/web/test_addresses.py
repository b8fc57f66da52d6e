"""Who may be reached: ways to a private address, each refused, and the user's own exceptions."""

import asyncio

import pytest

from agent.web.addresses import Guard, parse
from agent.web.errors import Refused, Unreachable, WebError

NAMES = {
    "public.example": ["93.184.216.34"],
    "rebound.example": ["10.1.2.3"],
    "mixed.example": ["93.184.216.34", "192.168.0.9"],
    "six.example": ["2606:2800:220:1::1"],
    "six-private.example": ["fd00::8"],
    "metadata.example": ["169.254.169.254"],
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "nowhere.example": [],
}


async def resolve(host: str, port: int) -> list[str]:
    if host in NAMES:
        return NAMES[host]
    import socket

    rows = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )
    return [str(row[4][0]) for row in rows]


WAYS = [
    "http://127.0.0.1/",
    "http://127.0.0.1:8080/admin",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.255.255.254/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://0/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://167772161/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://192.168.257/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://100.64.0.1/",
    "http://192.0.0.1/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:0a00:1]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:0:7f00:1]/",
    "http://[::ffff:0:a9fe:a9fe]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:c0a8:101::1]/",
    "http://[2001:0:7f00:1::1]/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://[fc00::1]/",
    "http://[fd12:3456::1]/",
    "http://[ff02::1]/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://rebound.example/",
    "http://mixed.example/",
    "http://six-private.example/",
    "http://metadata.example/",
    "http://127.0.0.1.nip.example/",
    "http://user:secret@public.example/",
    "http://public.example@127.0.0.1/",
    "http://127.0.0.1\\@public.example/",
    "http:\\\\127.0.0.1/",
    "http://127.0.0.1 .example/",
    "http://[fe80::1%25eth0]/",
    "//127.0.0.1/",
    "file:///etc/passwd",
    "ftp://127.0.0.1/",
    "gopher://127.0.0.1:6379/_INFO",
    "data:text/html,hello",
    "unix:///run/docker.sock",
    "http://",
    "http://nowhere.example/",
]


@pytest.mark.parametrize("url", WAYS)
def test_a_way_to_a_private_address_is_refused(url: str) -> None:
    with pytest.raises((Refused, Unreachable)):
        asyncio.run(Guard(resolve=resolve).check(url))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://public.example/a#part", "93.184.216.34"),
        ("https://six.example/", "2606:2800:220:1::1"),
        ("http://8.8.8.8/", "8.8.8.8"),
    ],
)
def test_a_public_one_is_pinned(url: str, address: str) -> None:
    target = asyncio.run(Guard(resolve=resolve).check(url))
    assert (target.address, target.url.fragment) == (address, "")


@pytest.mark.parametrize(
    ("allowed", "url", "lets"),
    [
        ("localhost:8080", "http://localhost:8080/", True),
        ("localhost:8080", "http://localhost:9090/", False),
        ("10.1.2.3", "http://10.1.2.3/wiki", True),
        ("rebound.example", "http://rebound.example/", True),
        ("rebound.example", "http://mixed.example/", False),
    ],
)
def test_the_user_can_allow_a_host(allowed: str, url: str, lets: bool) -> None:
    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if host == "localhost" else await resolve(host, port)

    try:
        asyncio.run(Guard([allowed], here).check(url))
    except WebError as error:
        assert not lets
        assert "allow_private" in error.remedy
    else:
        assert lets


def test_what_is_refused_says_why() -> None:
    with pytest.raises(Refused, match="user name or a password"):
        parse("http://user:secret@public.example/")
