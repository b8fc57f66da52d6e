"""What may run without asking: deny_paths, modes, rules, the question, and remembering the answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.approval.approval import ApprovalRequest, Approvals, Decision, Mode, UserAnswer, parse_mode
from agent.approval.rules import Rule, suggest_rule
from agent.config.edit import add_to_list
from agent.errors import UsageError
from agent.files.deny_paths import DenyPaths
from agent.llm.messages import ToolCallPart
from tests.agent.tools.support import make_context, subject, tool
from tests.support.effort import at_most


class Scripted:
    """An approver that gives these answers, in order, and keeps the questions."""

    def __init__(self, *answers: UserAnswer) -> None:
        self.answers = list(answers)
        self.asked: list[ApprovalRequest] = []

    async def ask(self, request: ApprovalRequest) -> UserAnswer:
        self.asked.append(request)
        return self.answers.pop(0)


def make(cwd: Path, mode: Mode, *rules: str, deny: tuple[str, ...] = (), **more: object) -> Approvals:
    return Approvals(mode, rules, deny_paths=DenyPaths(deny, cwd), **more)  # type: ignore[arg-type]


def decide(approvals: Approvals, name: str, **arguments: object) -> Decision:
    root = approvals.deny_paths.root
    call = ToolCallPart(id="c1", name=name, arguments="{}")
    return asyncio.run(approvals.decide(tool(name), call, arguments, make_context(root)))


# deny_paths


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        (".env", ".env"),
        ("deep/down/.env", ".env"),
        (".ENV", ".env"),
        (".env/inside", ".env"),
        ("secrets", "**/secrets/**"),
        ("a/secrets/b/c", "**/secrets/**"),
        ("config/keys.toml", "config/keys.toml"),
        ("x.pem", "*.pem"),
        ("/elsewhere/x.pem", "*.pem"),
        ("/etc/ssl/private/k", "/etc/ssl"),
        (".environment", None),
        ("secret/b", None),
        ("deep/config/keys.toml", None),
        ("src/a.py", None),
        (".", None),
    ],
)
def test_which_paths_are_denied(tmp_path: Path, path: str, pattern: str | None) -> None:
    deny = DenyPaths([".env", "**/secrets/**", "config/keys.toml", "*.pem", "/etc/ssl"], tmp_path)
    assert deny.match(tmp_path / path) == pattern


def test_links_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/key").write_text("k")
    (tmp_path / "open").symlink_to("secrets")
    (tmp_path / ".env").symlink_to("env.shared")
    (tmp_path / "loop").symlink_to("loop")
    deny = DenyPaths([".env", "secrets/"], tmp_path)
    assert deny.match(tmp_path / "open/key") == "secrets/"
    assert deny.match(tmp_path / ".env") == ".env"
    assert deny.match(tmp_path / "open/../open/key") == "secrets/"
    assert deny.match(tmp_path / "loop") is None


def test_a_project_inside_a_denied_name_is_usable(tmp_path: Path) -> None:
    root = tmp_path / "secrets" / "project"
    root.mkdir(parents=True)
    deny = DenyPaths(["**/secrets/**"], root)
    assert deny.match(root / "a.py") is None
    assert deny.match(tmp_path / "secrets/other") == "**/secrets/**"
    assert deny.match(root / "secrets/x") == "**/secrets/**"


def test_a_pattern_that_is_none_names_file_and_key(tmp_path: Path) -> None:
    for wrong in ("", "/", "{a,b}" * 20):
        with pytest.raises(UsageError, match=r"config\.toml: approve\.deny_paths\[2\]"):
            DenyPaths([".env", wrong], tmp_path)


# modes


def test_reading_is_free_and_deny_paths_hold_in_every_mode(tmp_path: Path) -> None:
    for mode in ("deny", "ask", "edits", "all"):
        approvals = make(tmp_path, parse_mode(mode), deny=(".env",))
        assert decide(approvals, "read", path="a").allowed
        assert decide(approvals, "grep", pattern="x").allowed
        assert decide(approvals, "shell", command=":jobs").allowed
        assert "deny_paths: .env" in decide(approvals, "read", path="x/.env").reason
        assert decide(approvals, "shell", command="cat .env").by == "deny_paths"


def test_deny_allows_nothing_else_and_says_what_would(tmp_path: Path) -> None:
    decision = decide(make(tmp_path, "deny", "shell"), "shell", command="ls")
    assert not decision.allowed and "--approve edits" in decision.reason


def test_edits_are_free_inside_the_working_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path.parent)
    settings = tmp_path / "settings"
    approvals = make(tmp_path, "edits", "write(**)", protected=[settings])
    assert decide(approvals, "write", path="a/b").by == "mode edits"
    assert decide(approvals, "edit", path=str(tmp_path / "a")).allowed
    for path in ("../x", "out/x", "/etc/x", ".git/hooks/pre-commit", ".moa/presets/x.toml", "settings/config.toml"):
        decision = decide(approvals, "write", path=path)
        assert (decision.allowed, decision.by) == (False, "nobody to ask"), path
    assert not decide(approvals, "shell", command="ls").allowed
    assert decide(make(tmp_path, "all"), "write", path="/srv/x").allowed


def test_an_unknown_mode() -> None:
    with pytest.raises(UsageError, match="no approval mode 'yes'"):
        parse_mode("yes")


# the question


def test_once_is_once(tmp_path: Path) -> None:
    face = Scripted(UserAnswer("once"), UserAnswer("no", "use make"))
    approvals = make(tmp_path, "ask", approver=face)
    assert decide(approvals, "shell", command="make x").allowed
    assert (
        decide(approvals, "shell", command="make x").reason
        == "the user did not allow this call of shell and said: use make"
    )
    assert [asked.rule for asked in face.asked] == ["shell(make x)"] * 2


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("read", {"path": "/somewhere/else.txt"}, "lies outside of the project"),
        ("read", {"path": ".env"}, "hold keys as often as not"),
        ("write", {"path": ".envrc", "content": "x"}, "direnv"),
        ("write", {"path": "a.txt", "content": "x"}, ""),
    ],
)
def test_a_question_says_what_is_special_about_the_call(
    tmp_path: Path, name: str, arguments: dict[str, str], why: str
) -> None:
    user = Scripted(UserAnswer("no"))
    decide(make(tmp_path, "ask", approver=user), name, **arguments)
    (asked,) = user.asked
    assert (why in asked.why) if why else asked.why == ""


def test_session_and_always(tmp_path: Path) -> None:
    remembered: list[str] = []
    face = Scripted(UserAnswer("session"), UserAnswer("always"), UserAnswer("always", rule="shell(make *)"))
    approvals = make(tmp_path, "ask", approver=face, remember=remembered.append)
    assert decide(approvals, "write", path="src/a.py", content="x\n").allowed
    assert face.asked[0].diff == "--- /dev/null\n+++ b/src/a.py\n@@ -0,0 +1 @@\n+x\n"
    assert decide(approvals, "write", path="src/b.py", content="").by == "rule write(src/*)"
    assert decide(approvals, "shell", command="git status").allowed
    assert decide(approvals, "shell", command="git status -s").by == "rule shell(git status *)"
    assert decide(approvals, "shell", command="make a").allowed
    assert decide(approvals, "shell", command="make b").by == "rule shell(make *)"
    assert remembered == ["shell(git status *)", "shell(make *)"]


# rules


@pytest.mark.parametrize(
    ("rule", "command", "covered"),
    [
        ("shell(git status*)", "git status", True),
        ("shell(git status*)", " git status --short ", True),
        ("shell(git commit *)", "git commit -m 'a; b && c'", True),
        ("shell(git commit *)", 'git commit -m "a > b"', True),
        ("shell(git status *)", "git status", True),
        ("shell(git status *)", "git statusx", False),
        ("shell(git status*)", "git status; rm -rf /", False),
        ("shell(git status*)", "git status && rm x", False),
        ("shell(git status*)", "git status | sh", False),
        ("shell(git status*)", "git status & rm x", False),
        ("shell(git status*)", "git status $(rm x)", False),
        ("shell(git status*)", 'git status "$(rm x)"', False),
        ("shell(git status*)", "git status `rm x`", False),
        ("shell(git status*)", "git status\nrm x", False),
        ("shell(git status*)", "git status > ~/.bashrc", False),
        ("shell(git status*)", "git status 'a\nb'", False),
        ("shell(git status*)", "git status '", False),
        ("shell(git status*)", "git status \\\nx", False),
        ("shell(*)", "rm x", True),
        ("shell(*)", "rm x; rm y", False),
        ("shell", "rm x; rm y", True),
        ("shell(make a && make b)", "make a && make b", True),
        ("shell(pytest <paths>)", "pytest" + " ." * 100, True),
        ("shell(pytest <paths>)", "pytest" + " ." * 101, False),
        ("shell(rm \\*.o)", "rm *.o", True),
        ("shell(rm \\*.o)", "rm a.o", False),
    ],
)
def test_which_commands_a_rule_covers(tmp_path: Path, rule: str, command: str, covered: bool) -> None:
    assert Rule.parse(rule).covers(subject("shell", {"command": command}), tmp_path) is covered


@given(st.text(), st.sampled_from(";&|<>\n$`(){}\\"), st.text())
def test_no_wildcard_covers_a_second_command(before: str, special: str, after: str) -> None:
    command = f"git status {before}".replace("'", "").replace('"', "") + special + after + "x"
    assert not Rule("shell", "git status*").covers(subject("shell", {"command": command}), Path("/"))


def test_which_files_a_rule_covers(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/out").symlink_to(tmp_path.parent)
    rule = Rule.parse("edit(src/**)")
    assert rule.covers(subject("edit", {"path": "src/a/b.py"}), tmp_path)
    assert not rule.covers(subject("write", {"path": "src/a/b.py"}), tmp_path)
    for path in ("a.py", "src/../a.py", "src/out/x", "other/src/a.py"):
        assert not rule.covers(subject("edit", {"path": path}), tmp_path), path
    assert Rule.parse(f"edit({tmp_path.parent}/*)").covers(subject("edit", {"path": "../x"}), tmp_path)
    assert Rule.parse("web_fetch(https://a.org/*)").covers(subject("web_fetch", {"url": "https://a.org/x"}), tmp_path)


@pytest.mark.parametrize("text", ["", "shell(", "shell()", "two words", "edit({a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b})", 7])
def test_a_rule_that_is_none_names_file_key_and_remedy(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"config\.toml: approve\.allow\[2\]") as caught:
        make(tmp_path, "ask", "shell(ls *)", text)
    assert caught.value.remedy


@given(st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text.strip()))
def test_what_is_suggested_covers_the_call_and_is_a_rule(command: str) -> None:
    suggested = suggest_rule(subject("shell", {"command": command}), Path("/"))
    assert Rule.parse(suggested).covers(subject("shell", {"command": command}), Path("/"))


@pytest.mark.parametrize(
    ("asked", "other", "covered"),
    [
        ("pytest", "pytest -q", False),
        ("pytest", "pytest tests", True),
        ("pytest", "pytest tests/test_a.py::test_x tests", True),
        ("pytest -q tests", "pytest tests/test_a.py -q", True),
        ("pytest -q tests", "pytest tests", False),
        ("pytest", "pytest --basetemp=/home/u/precious", False),
        ("pytest", "pytest --basetemp /home/u/precious", False),
        ("pytest", "pytest -p evil tests", False),
        ("pytest", "pytest -c /tmp/evil.ini", False),
        ("pytest", "pytest --junitxml=/etc/x", False),
        ("pytest", "pytest /tmp", False),
        ("pytest", "pytest ..", False),
        ("pytest", "pytest tests/../..", False),
        ("pytest", "pytest out", False),
        ("pytest", "pytest @options", False),
        ("pytest", "pytest\u00a0tests", False),
        ("pytest", "pytest ~", False),
        ("pytest", "pytest *", False),
        ("pytest", "pytest not-there.py", False),
        ("pytest", "pytest 'tests' '--basetemp=x'", False),
        ("pytest -k x tests", "pytest -k y tests", False),
        ("pytest --basetemp=b", "pytest --basetemp=c", False),
        ("go test ./...", "go test ./tests", True),
        ("go test ./...", "go test -exec /tmp/evil ./...", False),
        ("go test ./...", "go test -c -o /usr/bin/x ./...", False),
        ("go test ./...", "go test -toolexec=x ./...", False),
        ("go test ./...", "go test evil.example/pkg", False),
        ("go vet ./...", "go vet -vettool=/tmp/evil ./...", False),
        ("npm test", "npm test --script-shell=/tmp/evil", False),
        ("npm test", "npm test --prefix /tmp/evil", False),
        ("cargo test", "cargo test --config /tmp/evil.toml", False),
        ("cargo build", "cargo build --target-dir /home/u", False),
        ("cargo check", "cargo check --manifest-path /tmp/evil/Cargo.toml", False),
        ("git status", "git status --short", True),
        ("ls src", "ls -la tests", True),
        ("rm -rf <paths>", "rm -rf tests", False),
        ("rm *", "rm tests", False),
    ],
)
def test_a_suggested_rule_covers_nothing_that_runs_or_writes_elsewhere(
    tmp_path: Path, asked: str, other: str, covered: bool
) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_a.py").write_text("")
    (tmp_path / "@options").write_text("")
    (tmp_path / "out").symlink_to("/tmp")
    rule = Rule.parse(suggest_rule(subject("shell", {"command": asked}), tmp_path))
    assert rule.covers(subject("shell", {"command": asked}), tmp_path)
    assert rule.covers(subject("shell", {"command": other}), tmp_path) is covered, str(rule)


def test_a_foreign_tool_is_allowed_by_its_server_and_name(tmp_path: Path) -> None:
    asked = {"server": "files", "tool": "look*", "arguments": {"path": "x"}}
    rule = Rule.parse(suggest_rule(subject("mcp", asked), tmp_path))
    assert rule.covers(subject("mcp", asked), tmp_path)
    assert not rule.covers(subject("mcp", {**asked, "tool": "remove"}), tmp_path)
    assert not rule.covers(subject("mcp", {**asked, "tool": "lookup"}), tmp_path)


def test_suggestions_are_narrow(tmp_path: Path) -> None:
    suggestions = {
        suggest_rule(subject("shell", {"command": "git status -s"}), tmp_path): "shell(git status *)",
        suggest_rule(subject("shell", {"command": "git push --force"}), tmp_path): "shell(git push --force)",
        suggest_rule(subject("shell", {"command": "ls; rm *"}), tmp_path): "shell(ls; rm \\*)",
        suggest_rule(subject("edit", {"path": "src/a/b.py"}), tmp_path): "edit(src/a/*)",
        suggest_rule(subject("edit", {"path": "README.md"}), tmp_path): "edit(./README.md)",
        suggest_rule(subject("write", {"path": "/etc/x[1]"}), tmp_path): "write(/etc/x[[]1])",
        suggest_rule(subject("web_fetch", {"url": "https://a.org/b?c"}), tmp_path): "web_fetch(https://a.org/*)",
    }
    assert list(suggestions) == list(suggestions.values())


ODD = ["/", "//", ".", "./", "..", "~", "~nobody-here/x", "src/../~odd/x", "a)", "(", "x\ny/z", "*" * 300, "**/a", "[a]", "{a,b}" * 20, "a{b,c}/d", "\0", " ", "x/" * 3_000]  # fmt: skip


@pytest.mark.parametrize("path", ODD)
@pytest.mark.parametrize("name", ["read", "grep", "glob", "write", "edit"])
def test_what_is_suggested_for_a_path_is_a_rule(tmp_path: Path, name: str, path: str) -> None:
    asked = subject(name, {"path": path, "pattern": "x"})
    rule = Rule.parse(suggest_rule(asked, tmp_path))
    if path not in ("~nobody-here/x", "\0"):  # no paths
        assert rule.covers(asked, tmp_path), str(rule)
    assert not rule.covers(subject(name, {"path": "/elsewhere/b", "pattern": "x"}), tmp_path)


def test_an_answer_that_can_not_be_kept_is_told(tmp_path: Path) -> None:
    face = Scripted(UserAnswer("always", rule="read(("))
    decision = decide(make(tmp_path, "ask", approver=face), "write", path="a.py", content="")
    assert decision.allowed and "no rule was kept" in decision.told


def test_settings_of_others_do_not_hold_up_a_change(tmp_path: Path) -> None:
    """Each change asks what hooks run, and that settings name too much to tell is no reason to think that they name nothing."""
    for at in range(300):
        (tmp_path / f"d{at}").mkdir()
    line = "; ".join(f"cd d{at}" for at in range(300)) + "; " + "sh x.sh " * 2_000
    (tmp_path / ".moa").mkdir()
    (tmp_path / ".moa/config.toml").write_text(f'[[hooks]]\nevent = "turn_end"\ncommand = "{line}"\n' * 10)
    face = Scripted(*[UserAnswer("no")] * 5)
    approvals = make(tmp_path, "edits", approver=face)

    async def all_of_them() -> int:
        loop = 0

        async def count() -> None:
            nonlocal loop
            while True:
                loop += 1
                await asyncio.to_thread(len, "")  # a turn of the loop, as fast as threads are

        counting = asyncio.create_task(count())
        for at in range(5):
            call, arguments = (
                ToolCallPart(id="c1", name="write", arguments="{}"),
                {"path": f"src/{at}.py", "content": ""},
            )
            decision = await approvals.decide(tool("write"), call, arguments, make_context(tmp_path))
            assert not decision.allowed and decision.by == "user"
        counting.cancel()
        return loop

    with at_most(10):  # were each line bounded by itself: a minute for each change
        assert asyncio.run(all_of_them()) > 5


# remembering


def test_a_rule_joins_the_config_file_and_comments_stay(tmp_path: Path) -> None:
    file = tmp_path / "new" / "config.toml"
    add_to_list(file, ("approve", "allow"), "shell(ls *)")
    assert file.read_text() == '[approve]\nallow = ["shell(ls *)"]\n'
    file.write_text(
        '# mine\nmodel = "a:b"  # the best\n[approve]\nallow = [\n  "edit(src/**)",  # sources\n]\n[budget]\nturn_usd = 1\n'
    )
    add_to_list(file, ("approve", "allow"), 'shell(echo "hi")')
    add_to_list(file, ("approve", "allow"), 'shell(echo "hi")')
    text = file.read_text()
    assert text.startswith('# mine\nmodel = "a:b"  # the best\n') and "# sources" in text and text.count("echo") == 1

    import tomllib

    assert tomllib.loads(text)["approve"]["allow"] == ["edit(src/**)", 'shell(echo "hi")']


def test_a_broken_config_file_is_named_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    for text in ("[approve\n", 'approve = "x"\n', "[approve]\nallow = 1\n"):
        file.write_text(text)
        with pytest.raises(UsageError, match=r"config\.toml"):
            add_to_list(file, ("approve", "allow"), "shell")
        assert file.read_text() == text


# protected files

PROTECTED = [
    ".git/hooks/pre-commit",
    ".git/commondir",
    ".GIT/config",
    "sub/.git",
    ".git\u200c/config",
    "sub/.moa/presets/x.toml",
    ".envrc",
    "deep/.ENVRC",
    ".husky/pre-commit",
    ".pre-commit-config.yaml",
    ".vscode/tasks.json",
    ".vscode/SETTINGS.json",
    ".idea/workspace.xml",
    ".devcontainer/devcontainer.json",
    ".venv/bin/python",
    "venv/lib/python3/site-packages/x.pth",
    "oddly-named/bin/pytest",
    "planted/config",
    "planted/HEAD",
    "onpath/ls",
    "~/.bashrc",
    "~/.config/autostart/x.desktop",
    "~/bin/ls",
    "/etc/profile.d/x.sh",
    "/usr/lib/python3/dist-packages/x.pth",
    "link-to-hooks/pre-commit",
    "tools/hooks/pre-commit",
    "deep/tasks/tasks.json",
    ".hg/hgrc",
    "sub/.jj/repo/config.toml",
    ".lefthook.yaml",
    "lefthook-local.toml",
    ".mise.local.toml",
    "prek.toml",
    ".kiro/settings/mcp.json",
    "scripts/check.sh",
]


def hostile_project(folder: Path) -> Path:
    cwd = folder / "project"
    for made in (".git/hooks", "oddly-named/bin", "planted/objects", "planted/refs", "onpath", "src"):
        (cwd / made).mkdir(parents=True)
    (cwd / "oddly-named/pyvenv.cfg").touch()
    (cwd / ".moa").mkdir()
    (cwd / ".moa/config.toml").write_text('[[hooks]]\nevent = "turn_end"\ncommand = "sh scripts/check.sh"\n')
    (cwd / "planted/HEAD").write_text("ref: refs/heads/main")
    (cwd / "link-to-hooks").symlink_to(".git/hooks")
    (cwd / ".husky").symlink_to("tools/hooks")  # by another name it runs later all the same
    (cwd / "deep/tasks").mkdir(parents=True)
    (cwd / "deep/.vscode").symlink_to("tasks")
    return cwd


@pytest.mark.parametrize("name", ["write", "edit"])
@pytest.mark.parametrize("mode", ["deny", "ask", "edits", "all"])
@pytest.mark.parametrize("path", PROTECTED)
@pytest.mark.sample(100)
def test_a_protected_file_is_asked_about_or_refused_in_every_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, mode: Mode, name: str
) -> None:
    cwd = hostile_project(tmp_path)
    monkeypatch.setenv("PATH", f"{cwd}/onpath:/usr/bin")
    change = {"path": path, "content": "x", "old": "x", "new": "y"}
    unasked = make(cwd, mode, f"{name}(**)", name)
    assert not decide(unasked, name, **change).allowed
    if mode == "deny":
        return
    approver = Scripted(UserAnswer("once"))
    asked = make(cwd, mode, f"{name}(**)", name, approver=approver)
    assert decide(asked, name, **change) == Decision(True, "user") and len(approver.asked) == 1


@pytest.mark.parametrize("path", PROTECTED)
def test_where_everything_may_run_and_nobody_watches_it_is_refused(tmp_path: Path, path: str) -> None:
    cwd = hostile_project(tmp_path)
    approvals = make(cwd, "all", approver=Scripted())
    approvals.alone = lambda: True
    if path.startswith("onpath"):
        return  # not on PATH here
    assert decide(approvals, "write", path=path).by == "protected"


@pytest.mark.parametrize(
    "path", ["src/a.py", "Makefile", ".vscode/snippets.json", ".github/workflows/ci.yml", "environment/x", "a/HEAD", "git/config", "src/.env"]
)  # fmt: skip
def test_a_file_of_the_project_is_no_protected_one(tmp_path: Path, path: str) -> None:
    cwd = hostile_project(tmp_path)
    assert decide(make(cwd, "edits"), "write", path=path).by == "mode edits"
    assert decide(make(cwd, "all"), "write", path=path).by == "mode all"


def test_a_project_below_a_protected_name_is_usable(tmp_path: Path) -> None:
    cwd = hostile_project(tmp_path / ".husky")
    assert decide(make(cwd, "edits"), "write", path="src/a.py").by == "mode edits"


def test_in_the_home_folder_the_settings_of_the_account_are_protected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    approvals = make(tmp_path, "all")
    for path in (".bashrc", ".config/autostart/x", ".newly-made", "bin/ls", "~/.profile"):
        assert decide(approvals, "write", path=path).by == "nobody to ask", path
    assert decide(approvals, "write", path="notes.txt").allowed


def test_a_rule_that_names_a_protected_file_without_a_star_is_the_users_word(tmp_path: Path) -> None:
    cwd = hostile_project(tmp_path)
    approvals = make(cwd, "all", "write(.vscode/tasks.json)")
    assert decide(approvals, "write", path=".vscode/tasks.json").allowed
    assert not decide(approvals, "write", path=".vscode/launch.json").allowed
