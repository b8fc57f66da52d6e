"""What tools do not read whatever the settings say, and what they read only when somebody has said so, or was told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.approval.approval import Approvals, UserAnswer, parse_mode
from agent.approval.rules import Rule, suggest_rule
from agent.config.config import load_config
from agent.files.deny_paths import DenyPaths
from agent.files.fence import Fence
from agent.llm.messages import ToolCallPart
from agent.tools.base import ToolContext
from tests.agent.approval.test_approval import Scripted
from tests.agent.tools.support import call, refused, subject, tool


class Fenced:
    """A home folder with secrets, this program's folders in it, and a project."""

    def __init__(
        self, home: Path, mode: str = "ask", *rules: str, answers: tuple[UserAnswer, ...] | None = None
    ) -> None:
        self.home, self.cwd = home, home / "src" / "project"
        (self.cwd / ".git").mkdir(parents=True)
        env = {f"MOA_{kind}_DIR": str(home / ".moa-home" / kind.lower()) for kind in ("CONFIG", "STATE", "CACHE")}
        config = load_config(env)
        self.scratch = config.paths.state / "scratch" / "s1"
        deny = DenyPaths((), self.cwd, fence=Fence.of(self.cwd, config.paths, config.sandbox, scratch=self.scratch))
        self.context = ToolContext(cwd=self.cwd, scratch=self.scratch, deny_paths=deny)
        self.face = None if answers is None else Scripted(*answers)
        self.approvals = Approvals(parse_mode(mode), rules, deny_paths=deny, approver=self.face)

    def put(self, path: str, text: str = "the secret\n") -> Path:
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def decide(self, name: str, **arguments: Any) -> Any:
        part = ToolCallPart(id="c", name=name, arguments="{}")
        return asyncio.run(self.approvals.decide(tool(name), part, arguments, self.context))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


NEVER = [
    "~/.ssh/id_rsa",
    "~/.ssh/config",
    "~/.SSH/ID_RSA",
    "~/.aws/credentials",
    "~/.gnupg/private-keys-v1.d/x.key",
    "~/.netrc",
    "~/.git-credentials",
    "~/.npmrc",
    "~/.pypirc",
    "~/.docker/config.json",
    "~/.kube/config",
    "~/.config/gh/hosts.yml",
    "~/.config/gcloud/credentials.db",
    "~/.cargo/credentials.toml",
    "~/.bash_history",
    "~/.zsh_history",
    "~/.local/share/fish/fish_history",
    "~/.python_history",
    "~/.mozilla/firefox/x.default/logins.json",
    "~/.config/google-chrome/Default/Cookies",
    "~/.config/chromium/Default/Login Data",
    "~/.moa-home/config/config.toml",
    "~/.moa-home/config/keys.toml",
    "~/.moa-home/state/ledger.db",
    "~/.moa-home/state/history",
    "~/.moa-home/state/sessions/20260101-000000-abcd.jsonl",
    "~/.moa-home/state/scratch/another/shell-1.log",
    "/etc/shadow",
    "/etc/ssh/ssh_host_ed25519_key",
    "/proc/self/environ",
    "/proc/1/environ",
    "/proc/thread-self/environ",
    "/proc/self/task/1/environ",
    "/proc/self/mem",
    "/proc/self/root/etc/shadow",
    "../../.ssh/id_rsa",
    "~/.config/mozilla/firefox/x.default/places.sqlite",
    "~/.config/age/keys.txt",
    "~/.config/github-copilot/hosts.json",
    "~/.bash_history-1234.tmp",
    "id_ed25519",
    "deploy/id_rsa",
    "deploy/id_rsa.bak",
    "old/passwords.kdbx",
    "/backup/users/ann/.ssh/id_rsa",
    "~/.ss\u200bh/id_rsa",
    "~/.local/share/opencode/auth.json",
    "~/.config/Cursor/User/globalStorage/state.vscdb",
    "~/.config/io.datasette.llm/keys.json",
    "~/.pi/agent/auth.json",
    "~/.authinfo",
    "~/.subversion/auth/svn.simple/x",
    "~/.local/state/zsh/history",
    "/run/secrets/token",
    "~/.netrc~",
    "~/.aws.old/credentials",
    "~/.npmrc.bak",
    "#.netrc#",
    "deploy/.id_rsa.swp",
    "link-to-key",
    "link-to-folder/id_rsa",
]


@pytest.mark.parametrize("mode", ["deny", "ask", "edits", "all"])
@pytest.mark.parametrize("path", NEVER)
def test_no_tool_reads_keys_histories_browsers_or_our_own(home: Path, path: str, mode: str) -> None:
    world = Fenced(home, mode, "read", f"read({path})", answers=(UserAnswer("once"),))
    world.put(".ssh/id_rsa")
    (world.cwd / "link-to-key").symlink_to(home / ".ssh/id_rsa")
    (world.cwd / "link-to-folder").symlink_to(home / ".ssh")
    for name, more in (("read", {}), ("grep", {"pattern": "x"}), ("write", {"content": "x"})):
        decision = world.decide(name, path=path, **more)
        assert (decision.allowed, decision.by) == (False, "deny_paths"), name
        assert "never read by tools" in refused(world.context, name, path=path, **more)
    assert world.face is not None and world.face.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "a.py",
        ".ssh/config",
        "src/.aws/notes.md",
        "~/src/project/id_rsa.pub",
        "~/.moa-home/state/scratch/s1/shell-1.log",
        "~/.moa-home/config/skills/x/SKILL.md",
        "~/.moa-home/config/AGENTS.md",
        ".env.example",
        "id_rsa.py",
        "src/environment.py",
        "keys.md",
        ".env-example",
        "src/key.value.md",
        "src/monkey.old",
        "config.bak",
        "public/secretary.txt",
    ],
)
def test_what_is_the_projects_or_for_models_is_read_without_a_word(home: Path, path: str) -> None:
    decision = Fenced(home, "ask").decide("read", path=path)
    assert (decision.allowed, decision.by, decision.told) == (True, "read-only", "")


OUTSIDE = ["../other/a.py", "~/notes.txt", "/usr/include/stdio.h", "/etc/passwd", "out/a.py"]


@pytest.mark.parametrize("path", OUTSIDE)
def test_outside_of_the_project_somebody_is_asked_or_told(home: Path, path: str) -> None:
    (home / "src/other").mkdir(parents=True)
    for mode in ("ask", "edits", "deny"):
        world = Fenced(home / mode, mode, answers=(UserAnswer("no"), UserAnswer("once")))
        (world.cwd / "out").symlink_to(home / "src/other")
        assert not world.decide("read", path=path).allowed
        assert world.decide("read", path=path).by == "user"
        assert world.face is not None and len(world.face.asked) == 2
    for mode, answers in (("deny", None), ("ask", None), ("all", None), ("all", ())):
        world = Fenced(home / f"{mode}-{answers}", mode, answers=answers)
        (world.cwd / "out").symlink_to(home / "src/other")
        decision = world.decide("read", path=path)
        assert decision.allowed and "lies outside of the project" in decision.told
        for name, arguments in (("glob", {"pattern": f"{path}/*"}), ("grep", {"pattern": "x", "path": path})):
            if name == "grep" or path != "out/a.py":
                assert "outside of the project" in world.decide(name, **arguments).told, name


def test_the_repository_around_the_working_folder_is_the_project(home: Path) -> None:
    world = Fenced(home)
    below = world.cwd / "packages" / "a"
    below.mkdir(parents=True)
    config = load_config({f"MOA_{k}_DIR": "/x" for k in ("CONFIG", "STATE", "CACHE")})
    fence = Fence.of(below, config.paths, config.sandbox, scratch=below)
    assert not fence.is_outside(world.cwd / "README.md")
    assert fence.is_outside(home / "src" / "other")


PRIVATE = [
    ".env",
    "deep/.env.production",
    "prod.env.local",
    ".envrc.bak",
    "certs/server.key",
    "ca.pem",
    "secrets.yaml",
    "~/.bashrc",
    "terraform.tfstate",
    "terraform.tfstate.backup",
    "terraform.tfstate.1700000000.backup",
    "x.tfvars.json",
    ".env~",
    "#.env#",
    ".env-prod",
    "x.pem.bak",
    "x\n.pem",
    ".server.key.swp",
    "server.key.old",
    "secrets.yaml.orig",
    "serviceAccountKey.json",
    "x-firebase-adminsdk-1.json",
    "client_secret_1.json",
    ".dev.vars.local",
    "local.settings.json",
    "kubeconfig",
    "home.ovpn",
    "~/.bashrc.bak",
    ".git/config~",
    ".git/config",
    "deep/.git/modules/a/config",
    "mirror.git/config",
    ".hg/hgrc",
    ".jj/repo/store/git/config",
    "~/.gitconfig",
    ".aws/credentials",
    "dotfiles/.kube/config",
    "dotfiles/.azure/msal_token_cache.json",
    "deep/.docker/config.json.bak",
    ".cargo/credentials.toml",
    "php/auth.json",
]


@pytest.mark.parametrize("path", PRIVATE)
@pytest.mark.parametrize("mode", ["deny", "ask", "edits", "all"])
def test_what_holds_keys_as_often_as_not_is_asked_about_in_every_mode(home: Path, path: str, mode: str) -> None:
    asked = Fenced(home / "1", mode, "read", "read(**)", "read(~/**)", answers=(UserAnswer("once"),))
    assert asked.decide("read", path=path).by == "user"
    decision = Fenced(home / "2", mode, "read(**)").decide("read", path=path)
    assert (decision.allowed, decision.by) == (False, "private") and f"read({path})" in decision.reason
    assert Fenced(home / "3", mode, f"read({path})").decide("read", path=path).allowed


def test_a_change_of_one_is_asked_about_too_since_a_failed_edit_tells_of_it(home: Path) -> None:
    for mode in ("edits", "all"):
        world = Fenced(home / mode, mode, "edit(**)")
        (world.cwd / ".env").write_text("TOKEN=1\n")
        assert not world.decide("edit", path=".env", old="TOKEN=2", new="x").allowed
        assert Fenced(home / f"{mode}-2", mode, "edit(.env)").decide("edit", path=".env", old="a", new="b").allowed


def test_a_search_leaves_out_what_holds_keys_as_often_as_not(home: Path) -> None:
    world = Fenced(home)
    for name in (".env", "a.py", "id_rsa", "server.key", "config", "mirror.git/config", "home/.aws/sso/cache/x.json"):
        (world.cwd / name).parent.mkdir(parents=True, exist_ok=True)
        (world.cwd / name).write_text("TOKEN=1\n")
    text = call(world.context, "grep", pattern="TOKEN").text
    assert text.splitlines()[:2] == ["a.py:1:TOKEN=1", "config:1:TOKEN=1"]
    assert "4 files that may hold keys were left out" in text
    assert ".env:1:" not in text and "id_rsa" not in text
    assert "TOKEN" in call(world.context, "grep", pattern="TOKEN", path=".env").text


@pytest.mark.parametrize(
    "command",
    [
        "cat ~/.ssh/id_rsa",
        "cat $HOME/.aws/credentials",
        "cat ${HOME}/.netrc",
        'cat "$HOME"/.ssh/config',
        "cat ~/.s''sh/id_rsa",
        "cd; cat .aws/credentials",
        "head -c9 </proc/1/environ",
        "cp .env x; base64 ~/.aws/credentials",
        "tail -n1 ~/.bash_history",
    ],
)
def test_a_command_that_names_one_is_asked_about_in_every_mode(home: Path, command: str) -> None:
    for mode in ("ask", "edits", "all"):
        world = Fenced(home / mode, mode, "shell", "shell(cat *)", answers=(UserAnswer("once"),))
        assert world.decide("shell", command=command).by == "user"
        alone = Fenced(home / f"{mode}-2", mode, "shell").decide("shell", command=command)
        assert not alone.allowed and "the user's own word" in alone.reason
    assert Fenced(home / "x", "all").decide("shell", command="cat a.py").allowed


def test_what_is_suggested_for_reading_is_a_folder_but_never_the_home_folder(home: Path) -> None:
    world = Fenced(home)
    for path, rule in (
        ("/usr/include/sys/types.h", "read(/usr/include/sys/**)"),
        ("~/notes.txt", f"read({home / 'notes.txt'})"),
        ("../other/a.py", f"read({home / 'src/other'}/**)"),
    ):
        assert suggest_rule(subject("read", {"path": path}), world.cwd) == rule
        assert Rule.parse(rule).covers(subject("read", {"path": path}), world.cwd)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("caf\u00e9.key", "cafe\u0301.key"),
        ("cafe\u0301.key", "caf\u00e9.key"),
        (".env", ".e\u200bnv"),
        ("\u00c5.txt", "\u212b.txt"),
    ],
)
def test_another_unicode_form_of_a_denied_name_is_denied(tmp_path: Path, pattern: str, name: str) -> None:
    assert DenyPaths([pattern], tmp_path).match(tmp_path / name) == pattern


# What was shown is what runs


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("write", {"path": "sub/a.txt", "content": "mine"}),
        ("edit", {"path": "sub/a.txt", "old": "x", "new": "y"}),
        ("read", {"path": "sub/a.txt"}),
        ("grep", {"path": "sub", "pattern": "x"}),
        ("glob", {"path": "sub", "pattern": "*"}),
    ],
)
def test_a_folder_that_becomes_a_link_after_the_question_leads_nowhere(
    home: Path, name: str, arguments: dict[str, Any]
) -> None:
    world = Fenced(home, answers=(UserAnswer("once"),))
    (world.cwd / "sub").mkdir()
    (home / "outside").mkdir()
    decision = world.decide(name, **arguments)
    assert decision.allowed
    (world.cwd / "sub").rmdir()
    (world.cwd / "sub").symlink_to(home / "outside")
    assert "leads elsewhere by now" in refused(replace(world.context, allowed=decision.place), name, **arguments)
    assert list((home / "outside").iterdir()) == []


@pytest.mark.parametrize("moment", ["read", "write"])
def test_a_folder_that_becomes_a_link_at_the_very_moment_leads_nowhere(
    home: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking where a path leads and opening it."""
    world = Fenced(home)
    (world.cwd / "sub").mkdir()
    (home / "outside").mkdir()
    (home / "outside/a.txt").write_text("theirs")
    resolve = ToolContext.resolve

    def swap(context: ToolContext, path: str, **more: Any) -> Path:
        found = resolve(context, path, **more)
        (world.cwd / "sub").rename(world.cwd / "was")
        (world.cwd / "sub").symlink_to(home / "outside")
        return found

    monkeypatch.setattr(ToolContext, "resolve", swap)
    more = {} if moment == "read" else {"content": "mine"}
    assert "theirs" not in refused(world.context, moment, path="sub/a.txt" if moment == "read" else "sub/b.txt", **more)
    assert [path.name for path in (home / "outside").iterdir()] == ["a.txt"]


def test_a_file_that_changed_after_the_question_is_not_overwritten(home: Path) -> None:
    world = Fenced(home, answers=(UserAnswer("once"), UserAnswer("once"), UserAnswer("once")))
    new = {"path": "new.txt", "content": "mine\n"}
    decision = world.decide("write", **new)
    (world.cwd / "new.txt").write_text("")
    assert "has changed since the user was shown" in refused(
        replace(world.context, allowed=decision.place), "write", **new
    )
    (world.cwd / "a.txt").write_text("one\ntwo\n")
    change = {"path": "a.txt", "old": "one", "new": "1"}
    decision = world.decide("edit", **change)
    (world.cwd / "a.txt").write_text("one\nevil\n")
    assert "has changed since" in refused(replace(world.context, allowed=decision.place), "edit", **change)
    decision = world.decide("edit", **change)
    call(replace(world.context, allowed=decision.place), "edit", **change)
    assert (world.cwd / "a.txt").read_text() == "1\nevil\n"


def test_a_question_says_where_a_link_leads(home: Path) -> None:
    world = Fenced(home, answers=(UserAnswer("no"),))
    (world.cwd / "docs").symlink_to("/usr/share")
    world.decide("read", path="docs/x")
    assert world.face is not None and world.face.asked[0].title == "read docs/x (leads to /usr/share/x)"
