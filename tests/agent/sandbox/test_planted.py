"""What a confined command leaves behind runs nowhere later: what was there is read-only, what is new is taken away. Real commands, real git."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.config.named_by_us import why_named_by_us
from agent.events import AgentEvent, Notice
from agent.files.deny_paths import DenyPaths
from agent.files.protected import why_protected
from agent.process.named_by_git import why_named_by_git
from agent.sandbox import bubblewrap, planted
from agent.sandbox.sandbox import Sandbox, Settings
from agent.tools.base import ToolContext, ToolError
from agent.tools.builtin import builtin_tools
from tests.agent.tools.test_hostile import git, repository

PROBLEM = asyncio.run(bubblewrap.probe())
pytestmark = pytest.mark.skipif(PROBLEM is not None, reason=f"no sandbox here: {PROBLEM}")


class Place:
    """A repository in which a confined command plants, and what the user does afterwards, outside."""

    def __init__(self, folder: Path, cwd: Path | None = None, write: tuple[str, ...] = ()) -> None:
        self.ran = folder / "ran"
        self.cwd = cwd or repository(folder / "project")
        scratch = folder / "state" / "scratch"
        scratch.mkdir(parents=True)
        self.events: list[AgentEvent] = []
        deny = DenyPaths((), self.cwd)
        self.sandbox = Sandbox(Settings("on", write=write), private=(folder / "state",), deny_paths=deny)
        self.context = ToolContext(
            cwd=self.cwd, scratch=scratch, deny_paths=deny, turn="t", emit=self.events.append, sandbox=self.sandbox
        )

    def shell(self, *commands: str) -> str:
        """The commands, one after another in one session; `$EVIL` is what should never run."""

        async def run() -> str:
            shell = next(tool for tool in builtin_tools() if tool.spec.name == "shell")
            said = []
            try:
                for command in commands:
                    command = f"EVIL='touch {self.ran}'; {command}" if not command.startswith(":") else command
                    said.append((await shell.run(self.context, {"command": command})).text)
            finally:
                await shell.aclose()  # type: ignore[attr-defined]
            return "\n".join(said)

        return asyncio.run(run())

    def later(self) -> None:
        """What the user does later: looks at the repository, at the folders in it, commits."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        folders = [Path(folder) for folder, _, _ in os.walk(self.cwd) if "/.git/" not in f"{folder}/"]
        for folder in folders:
            for words in (
                ["status"],
                ["diff"],
                ["log", "-1"],
                ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-am", "x"],
            ):
                subprocess.run(["git", *words], cwd=folder, env=env, capture_output=True, timeout=20)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


MONITOR = 'git config -f {0} core.fsmonitor "$EVIL"; git config -f {0} core.repositoryformatversion 0'
PLANTS = {
    "a hook": "echo \"$EVIL\" > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit",
    "a setting": "git config core.fsmonitor \"$EVIL\"",
    "a commondir": "cp -r .git evil; git config -f evil/config core.fsmonitor \"$EVIL\"; echo ../evil > .git/commondir",
    "a commondir in a folder of its own": "mkdir d; cp -r .git/* d/; " + MONITOR.format("d/config") + "; echo $PWD/d > .git/commondir",
    "settings of the work tree": "git config extensions.worktreeConfig true; " + MONITOR.format(".git/config.worktree"),
    "attributes": "echo '* filter=x' > .git/info/attributes; git config filter.x.clean \"$EVIL\"",
    "another repository in its place": "mv .git old; git init -q; " + MONITOR.format(".git/config"),
    "its removal": "rm -rf .git; git init -q; " + MONITOR.format(".git/config"),
    "a nested repository": "git init -q sub; " + MONITOR.format("sub/.git/config"),
    "a nested repository, deep": "mkdir -p a/b/c; git init -q a/b/c; " + MONITOR.format("a/b/c/.git/config"),
    "a repository without a work tree": "git init -q --bare sub; git -C sub config core.bare false; git -C sub config core.worktree ..; " + MONITOR.format("sub/config"),
    "a repository made by hand": "mkdir -p sub/objects sub/refs; echo ref: refs/heads/m > sub/HEAD; git config -f sub/config core.worktree ..; " + MONITOR.format("sub/config"),
    "a pointer": "git init -q --bare evil; git -C evil config core.bare false; " + MONITOR.format("evil/config") + "; mkdir sub; echo \"gitdir: $PWD/evil\" > sub/.git",
    "a link": "git init -q --bare evil; git -C evil config core.bare false; " + MONITOR.format("evil/config") + "; mkdir sub; ln -s ../evil sub/.git",
    "a submodule that the index names": "git init -q sub; git -C sub -c user.name=a -c user.email=a@b commit -q --allow-empty -m x; git add sub; " + MONITOR.format("sub/.git/config"),
    "a folder moved over": "git init -q sub; " + MONITOR.format("sub/.git/config") + "; mv sub src/inner",
    "work trees": "mkdir -p .git/worktrees/x; echo x > .git/worktrees/x/gitdir",
    "modules": "git init -q --bare .git/modules/x; " + MONITOR.format(".git/modules/x/config"),
    "a repository that says where the rest is": "git init -q --bare rest; rm rest/HEAD; " + MONITOR.format("rest/config") + "; mkdir sub; echo ref: refs/heads/m > sub/HEAD; echo ../rest > sub/commondir",
    "a repository within repositories": "mkdir -p x/.git/y/.git/z/.git/w/.git/v; git init -q x/.git/y/.git/z/.git/w/.git/v/sub; " + MONITOR.format("x/.git/y/.git/z/.git/w/.git/v/sub/.git/config"),
    "a repository in an environment": "mkdir -p env/deep; touch env/pyvenv.cfg; git init -q env/deep/sub; " + MONITOR.format("env/deep/sub/.git/config"),
    "a repository in what is taken away itself": "mkdir -p .husky/.husky/.idea/.moa; git init -q .husky/.husky/.idea/.moa/sub; " + MONITOR.format(".husky/.husky/.idea/.moa/sub/.git/config"),
    "a repository that was taken away already": "git init -q sub; " + MONITOR.format("sub/.git/config") + "; mv sub/.git sub/.git.taken-away",
    "a repository of odd letters": "git init -q sub; " + MONITOR.format("sub/.git/config") + "; mv sub $'sub\\n\\xff'",
    "a rebase that goes on": "mkdir .git/rebase-merge; echo \"exec $EVIL\" > .git/rebase-merge/git-rebase-todo",
    "a rebase with a long list": "mkdir .git/rebase-merge; (yes noop | head -c 1100000; echo \"exec $EVIL\") > .git/rebase-merge/git-rebase-todo",
    "a rebase with a list elsewhere": "mkdir .git/rebase-merge; echo \"exec $EVIL\" > todo; ln -s ../../todo .git/rebase-merge/git-rebase-todo",
    "a rebase elsewhere": "mkdir evil; echo \"exec $EVIL\" > evil/git-rebase-todo; ln -s ../evil .git/rebase-merge",
}  # fmt: skip


@pytest.mark.parametrize("kind", PLANTS)
@pytest.mark.sample(8)
def test_nothing_planted_runs_with_the_users_next_git(place: Place, kind: str) -> None:
    place.shell(PLANTS[kind])
    place.later()
    assert not place.ran.exists()
    if kind != "its removal":
        assert git(place.cwd, "log", "--format=%s").endswith("first"), "the repository is as it was"
    assert not (place.cwd / ".git" / "rebase-merge" / "git-rebase-todo").exists()


@pytest.mark.parametrize(
    "kind", ["a hook", "a commondir", "a nested repository", "a link", "a submodule that the index names"]
)
@pytest.mark.sample(2)
def test_nor_through_a_job_in_the_background(place: Place, kind: str) -> None:
    place.shell(f"({PLANTS[kind]}; sleep 0.3) > /dev/null 2>&1 &", ":wait 1")
    place.later()
    assert not place.ran.exists()


def test_the_plants_would_run_otherwise(place: Place) -> None:
    """The rows above prove nothing where git would not run them."""
    place.sandbox.change(mode="off")
    for kind in (
        "a commondir",
        "a nested repository",
        "a repository without a work tree",
        "a submodule that the index names",
    ):
        place.shell(PLANTS[kind])
        place.later()
        assert place.ran.exists(), kind
        place.ran.unlink()
        subprocess.run(["rm", "-rf", *place.cwd.iterdir()], check=True)
        repository(place.cwd)


# What git's own settings name in the project: the settings can't be changed, and so must not what they name.
NAMED = {
    "hooks of the project": ("[core]\nhooksPath = tools/hooks", "tools/hooks/pre-commit"),
    "hooks in a folder with all the rest": ("[core]\nhooksPath = .", "pre-commit"),
    "hooks behind a comment": ("[core]\nhooksPath = tools/hooks ; ours", "tools/hooks/pre-commit"),
    "further settings": ("[include]\npath = ../team.gitconfig", "team.gitconfig"),
    "further settings on a condition": ('[includeIf "onbranch:never"]\npath = ../team.gitconfig', "team.gitconfig"),
    "what further settings name": ("[include]\npath = ../team.gitconfig", "tools/of-the-team.sh"),
    "a file monitor": ("[core]\nfsmonitor = tools/monitor.sh", "tools/monitor.sh"),
    "a filter": ('[filter "x"]\nclean = sh ./tools/clean.sh %f', "tools/clean.sh"),
    "a filter without a slash": ('[filter "x"]\nclean = sh strip.sh # ours', "strip.sh"),
    "an alias": ("[alias]\nst = !./tools/st.sh", "tools/st.sh"),
    "an alias in a folder": ('[alias]\nst = "!cd tools && \\\n ./st.sh"', "tools/st.sh"),
    "an alias by its options": ("[alias]\nst = -c core.pager=tools/page.sh log", "tools/page.sh"),
    "a filter of what is shown": ("[interactive]\ndiffFilter = tools/show.sh", "tools/show.sh"),
    "a key": ('[gpg "ssh"]\ndefaultKeyCommand = tools/key.sh', "tools/key.sh"),
    "an alias that rebases": ("[alias]\nr = rebase -x 'sh check.sh'", "check.sh"),
    "an alias that shows files": ("[alias]\ng = grep -O'sh up.sh'", "up.sh"),
    "an alias for submodules": ("[alias]\nf = submodule foreach sh check.sh", "check.sh"),
    "an alias of several programs": ("[alias]\nx = !git ls-files | xargs ./tools/each", "tools/each"),
    "a remote's program": ('[remote "o"]\nurl = x\nuploadpack = sh up.sh', "up.sh"),
    "how a submodule is updated": ('[submodule "s"]\nupdate = !sh up.sh', "s/up.sh"),
    "attributes": ("[core]\nattributesFile = my-attributes", "my-attributes"),
}


def guarded(place: Place, name: str, cwd: Path, *, there: bool) -> None:
    """A confined command plants the file, and the user's own is still what is there; nor does a tool change it unasked."""
    if there:
        (cwd / name).parent.mkdir(exist_ok=True, parents=True)
        (cwd / name).write_text("the user's")
    place.shell(
        f"mkdir -p {Path(name).parent}; echo planted > {name}; rm -f {name}; echo planted > {name}; "
        "echo fine > tools.txt; mkdir -p log st; echo fine > log/x; echo fine > main"
    )
    assert (cwd / "log" / "x").exists() and (cwd / "tools.txt").exists() and (cwd / "main").exists()
    assert ((cwd / name).read_text() if (cwd / name).exists() else None) == ("the user's" if there else None)
    asked = [
        why_protected((cwd / each).resolve(), cwd) or why_named_by_git((cwd / each).resolve(), cwd)
        for each in (name, "tools.txt")
    ]
    assert asked[0] is not None and asked[1] is None


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.sample(10)
def test_what_the_settings_of_git_name_in_the_project_is_guarded(place: Place, kind: str, there: bool) -> None:
    settings, name = NAMED[kind]
    with (place.cwd / ".git" / "config").open("a") as config:
        config.write(f"{settings}\n[init]\ndefaultBranch = main\n[alias]\nco = checkout main\n")
    if kind == "what further settings name":
        (place.cwd / "team.gitconfig").write_text("[diff]\nexternal = tools/of-the-team.sh\n")
    guarded(place, name, place.cwd, there=there)


def in_a_folder(project: Path) -> tuple[Path, str]:
    git(project, "config", "core.hooksPath", "src/hooks")
    (project / "src").mkdir(exist_ok=True)
    return project / "src", "hooks/pre-commit"


def in_a_linked_work_tree(project: Path) -> tuple[Path, str]:
    git(project, "config", "core.hooksPath", "tools")
    git(project, "worktree", "add", "-q", str(project.parent / "linked"))
    return project.parent / "linked", "tools/pre-commit"


def in_a_nested_repository(project: Path) -> tuple[Path, str]:
    repository(project / "sub")
    git(project / "sub", "config", "core.hooksPath", "tools")
    return project, "sub/tools/pre-commit"


def in_a_submodule(project: Path) -> tuple[Path, str]:
    repository(project / "sub")
    (project / ".git" / "modules").mkdir()
    (project / "sub" / ".git").rename(project / ".git" / "modules" / "sub")
    (project / "sub" / ".git").write_text("gitdir: ../.git/modules/sub\n")
    git(project / "sub", "config", "core.hooksPath", "tools")
    return project, "sub/tools/pre-commit"


def beside_a_nested_repository(project: Path) -> tuple[Path, str]:
    repository(project / "sub")
    git(project / "sub", "config", "core.hooksPath", "../tools")
    return project, "tools/pre-commit"


def for_every_repository(project: Path) -> tuple[Path, str]:
    Path.home().joinpath(".gitconfig").write_text("[include]\npath = more.gitconfig\n")
    Path.home().joinpath("more.gitconfig").write_text("[core]\nhooksPath = .githooks\n")
    return project, ".githooks/pre-commit"


def for_every_editor(project: Path) -> tuple[Path, str]:
    os.environ["GIT_EDITOR"] = "tools/edit.sh"
    return project, "tools/edit.sh"


def without_a_repository(project: Path) -> tuple[Path, str]:
    Path.home().joinpath(".gitconfig").write_text("[alias]\nx = !./x.sh\n")
    (project.parent / "plain").mkdir()
    return project.parent / "plain", "x.sh"


def kept_in_the_project(project: Path) -> tuple[Path, str]:
    (project / "git").mkdir()
    Path.home().joinpath(".gitconfig").symlink_to(project / "git" / "gitconfig")
    return project, "git/gitconfig"


def a_shell_kept_in_the_project(project: Path) -> tuple[Path, str]:
    Path.home().joinpath(".bashrc").symlink_to(project / "bashrc")
    return project, "bashrc"


def named_by_a_variable(project: Path) -> tuple[Path, str]:
    os.environ["GIT_CONFIG_GLOBAL"] = "team.cfg"
    return project, "team.cfg"


def said_by_a_variable(project: Path) -> tuple[Path, str]:
    os.environ["GIT_CONFIG_PARAMETERS"] = "'core.hookspath'='tools'"
    return project, "tools/pre-commit"


def through_a_folder_link(project: Path) -> tuple[Path, str]:
    git(project, "config", "core.hooksPath", "my/hooks")
    (project / "config" / "hooks").mkdir(parents=True)
    (project / "my").symlink_to("config")
    return project, "config/hooks/pre-commit"


def through_a_linked_hook(project: Path) -> tuple[Path, str]:
    (project / ".git" / "hooks").mkdir(exist_ok=True)
    (project / ".git" / "hooks" / "pre-commit").symlink_to("../../tools/check")
    return project, "tools/check"


def through_a_link_in_a_folder_that_runs(project: Path) -> tuple[Path, str]:
    (project / ".husky").mkdir()
    (project / ".husky" / "pre-commit").symlink_to("../tools/check")
    return project, "tools/check"


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(
    "layout",
    [
        *(in_a_folder, in_a_linked_work_tree, in_a_nested_repository, in_a_submodule, for_every_repository),
        *(for_every_editor, through_a_folder_link, through_a_linked_hook, beside_a_nested_repository),
        *(through_a_link_in_a_folder_that_runs, without_a_repository, kept_in_the_project, a_shell_kept_in_the_project),
        *(named_by_a_variable, said_by_a_variable),
    ],
)
@pytest.mark.sample(8)
def test_and_wherever_the_repository_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Callable[[Path], tuple[Path, str]], there: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("GIT_EDITOR", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_PARAMETERS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    cwd, name = layout(repository(tmp_path / "project"))
    if layout is not beside_a_nested_repository:
        guarded(Place(tmp_path, cwd), name, cwd, there=there)
    elif there:
        # The approval asks the repositories around the file alone: what is beside one is a limit of docs/sandbox.md.
        (cwd / "tools").mkdir()
        (cwd / name).write_text("the user's")
        Place(tmp_path, cwd).shell(f"echo planted > {name}")
        assert (cwd / name).read_text() == "the user's"


ORDINARY = """
[init]
defaultBranch = main
[alias]
a = "!git ls-files '*.py' | xargs wc -l"
b = "!find . -name '*.py' | xargs black"
c = diff -- 'src/*.py' src/b.py
d = "!grep -rn TODO src/*.py; wc -l src/*; prettier --write '**/*.js'"
e = "!git checkout main && make build && npm run dev"
f = "!git tag v$(cat VERSION) && vim CHANGELOG.md"
[branch "main"]
description = see src/b.py, run by sh x.sh
[filter "lfs"]
clean = git-lfs clean -- %f
process = git-lfs filter-process
[blame]
ignoreRevsFile = .git-blame-ignore-revs
[commit]
template = message.txt
"""


def test_nor_does_an_ordinary_setting_hold_up_the_work(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitconfig").write_text(ORDINARY)
    names = [
        "main",
        "build",
        "dev",
        "run",
        "clean",
        "VERSION",
        "CHANGELOG.md",
        "src/b.py",
        "src/c.py",
        "n.py",
        "a.js",
        "message.txt",
    ]
    for name in names[::2]:
        (place.cwd / name).write_text("old")
    place.shell("; ".join(f"echo new > {name}.draft; mv {name}.draft {name}" for name in names))
    assert {name: (place.cwd / name).read_text() for name in names} == dict.fromkeys(names, "new\n")
    assert [name for name in names if why_named_by_git(place.cwd / name, place.cwd)] == []


def test_a_plant_can_not_choose_how_long_it_stays(place: Place) -> None:
    """Its own settings would take very long to read."""
    place.shell(
        "git init -q r; git config -f r/.git/config core.fsmonitor \"$EVIL\"; mkdir c; (echo '[a]'; yes 'x = y' | head -c 900000) > c/0;"
        "for i in $(seq 60); do cp c/0 c/$i; printf '[include]\\npath = ../../c/%s\\n' $i; done >> r/.git/config; rm c/0",
    )
    assert not (place.cwd / "r" / ".git").exists()


@pytest.mark.parametrize("line", ["x = sh x.sh\n" * 10_000, "x = y\n" * 60_000, f"x = {'sh x.sh ' * 10_000}\n"])
def test_settings_that_nobody_has_are_not_read_to_their_end(place: Place, line: str) -> None:
    with (place.cwd / ".git" / "config").open("a") as config:
        config.write(f"[a]\n{line}")
    assert "too long" in str(why_named_by_git(place.cwd / "a.txt", place.cwd))
    with pytest.raises(ToolError, match="longer than anybody's"):
        place.shell("echo x > a.txt")
    assert not (place.cwd / "a.txt").exists()


# What the settings of this program name in the project, from the `.moa` of the project or the user's own.
HOOK = '[[hooks]]\nevent = "turn_end"\ncommand = '
NAMED_BY_US = {
    HOOK + '"./check.sh"': "check.sh",
    HOOK + '"A=1 sh -e tools/check.sh >&2 || exit 2"': "tools/check.sh",
    HOOK + '"true; python3 tools/check.py"': "tools/check.py",
    HOOK + "'sh -c \"cd tools && ./check.sh\"'": "tools/check.sh",
    HOOK + '"python3 -m tools.check"': "tools/check.py",
    HOOK + """'if "$PWD"/check.sh; then exit 2; fi'""": "check.sh",
    HOOK + '"timeout 5 uv run python tools/check.py"': "tools/check.py",
    HOOK + '"uv --directory tools run check.py"': "tools/check.py",
    HOOK + '"python3 -W ignore check.py"': "check.py",
    HOOK + '"npm --prefix tools run lint"': "tools/package.json",
    '[mcp.servers.it]\ncommand = "node"\nargs = ["tools/server.js"]\nenv = {NODE_OPTIONS = "--require ./tools/first.js"}': "tools/first.js",
    '[mcp.servers.it]\ncommand = "sh"\nargs = ["-c", "cd tools && exec ./server.sh"]': "tools/server.sh",
    '[endpoints.it]\ndialect = "command"\ncommand = ["timeout", "5", "{here}/tools/ask.sh"]': "tools/ask.sh",
    '[mcp.servers.it]\ncommand = "python3"\nargs = ["-u", "tools/server.py"]': "tools/server.py",
    '[mcp.servers.it]\ncommand = "python3"\ncwd = "tools"\nargs = ["server.py"]': "tools/server.py",
    '[mcp.servers.it]\ncommand = "python3"\nargs = ["{cwd}/tools/server.py"]': "tools/server.py",
}


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("whose", [".moa", "the user's"])
@pytest.mark.parametrize("settings", NAMED_BY_US)
@pytest.mark.sample(4)
def test_what_our_own_settings_name_in_the_project_is_guarded(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: str, whose: str, there: bool
) -> None:
    name = NAMED_BY_US[settings]
    monkeypatch.setenv("MOA_CONFIG_DIR", str(tmp_path / "our-config"))
    folder = place.cwd / ".moa" if whose == ".moa" else tmp_path / "our-config"
    folder.mkdir()
    (folder / "config.toml").write_text(settings.replace("{here}", str(place.cwd)))
    (place.cwd / "tools").mkdir()
    if there:
        (place.cwd / name).write_text("the user's")
    place.shell(f"echo planted > {name}; echo fine > tools/x; echo fine > python3; mkdir -p true")
    assert (place.cwd / "tools" / "x").exists() and (place.cwd / "python3").exists()
    found = (place.cwd / name).read_text() if (place.cwd / name).exists() else None
    assert found == ("the user's" if there else None)
    assert why_named_by_us(place.cwd / name, place.cwd) and not why_named_by_us(place.cwd / "tools" / "x", place.cwd)


@pytest.mark.parametrize("line", ["sh x.sh", "; ".join(f"cd d{at} && ./{at}.sh" for at in range(500))])
def test_hooks_that_nobody_has_are_not_read_to_their_end(place: Place, line: str) -> None:
    (place.cwd / ".moa").mkdir()
    hook = f'[[hooks]]\nevent = "turn_end"\ncommand = "{line}"\n'
    (place.cwd / ".moa" / "config.toml").write_text(hook * (200_000 // len(hook)))
    assert "too much" in str(why_named_by_us(place.cwd / "a.txt", place.cwd))
    with pytest.raises(ToolError, match="longer than anybody's"):
        place.shell("true")


def test_a_crowd_of_files_hides_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted, "MOST_LOOKED_AT", 300)
    place.shell("for n in $(seq 400); do : > f$n; done; mkdir -p z; echo planted > z/.envrc")
    assert not (place.cwd / "z" / ".envrc").exists()


NAMES = [
    *(".moa/presets/x.toml", ".envrc", "deep/er/.envrc", ".husky/pre-commit", ".pre-commit-config.yaml", ".vscode/tasks.json"),
    *("sub/.vscode/settings.json", ".idea/workspace.xml", ".devcontainer/devcontainer.json", "lefthook.yml", "sub/.moa/x", ".mise.toml"),
    *(".zed/tasks.json", ".helix/languages.toml", ".exrc", ".claude/settings.json", ".mcp.json", "opencode.json", "mise.toml"),
    *(".config/mise/config.toml", "mise/conf.d/a.toml", "mise.production.toml", ".tool-versions", ".vscode/mcp.json", ".pi/extensions/x.ts"),
    *(".direnv/profile.rc", ".pdbrc", "_darcs/prefs/defaults", ".github/hooks/x.json", ".cargo/config.toml", ".autoenv.zsh"),
    *(".hg/hgrc", ".jj/repo/config.toml", "lefthook.yaml", ".lefthook-local.json", ".mise.local.toml", "prek.toml", ".kiro/settings/mcp.json"),
    *("deep/my.code-workspace", ".vim/coc-settings.json", ".Rprofile", ".shadowenv.d/x.lisp", ".flox/env/manifest.toml", ".lefthook/pre-commit/x.sh"),
    *("hk.pkl", ".config/pre-commit.yaml", ".irbrc", ".ghci", ".trunk/trunk.yaml", ".Renviron", ".RData", ".pryrc", ".iex.exs", ".ocamlinit"),
    *(".clinerules/hooks/x", ".kilocode/mcp.json", ".vscode/c_cpp_properties.json"),
]  # fmt: skip


def test_what_other_programs_run_is_taken_away_where_it_is_new(place: Place) -> None:
    said = place.shell("; ".join(f"mkdir -p {Path(name).parent}; echo {name} > {name}" for name in NAMES))
    assert [name for name in NAMES if (place.cwd / name).exists()] == []
    assert "taken away" in said and planted.AWAY in said
    assert [event.code for event in place.events if isinstance(event, Notice)] == ["sandbox", "sandbox_taken_away"]
    kept = {path.read_text().strip() for path in place.cwd.rglob("*") if planted.AWAY in str(path) and path.is_file()}
    assert kept == set(NAMES), "nothing is lost"


THERE = [*NAMES, ".venv/bin/python", "odd/bin/pytest", "on-path/ls", "nested/.git"]


@pytest.mark.parametrize("how", ["echo planted > {0}", "rm -f {0}; echo planted > {0}", "mv {0} x; echo planted > {0}", "mv {1} x; mkdir -p {1}; echo planted > {0}", "echo planted > new; mv new {0}", "echo planted > new; ln -f new {0}", "rm -rf {1}; mkdir -p {1}; ln -s /etc/passwd {0}"])  # fmt: skip
@pytest.mark.sample(3)
def test_what_was_there_stays_as_it_was(place: Place, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    for name in THERE:
        file = place.cwd / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("the user's")
        if name.endswith(("bin/python", "bin/pytest")):
            (file.parent.parent / "pyvenv.cfg").touch()
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{place.cwd}/on-path")
    place.shell("; ".join(how.format(name, Path(name).parent) for name in THERE if name.count("/") or "{1}" not in how))
    for name in THERE:
        parts = Path(name).parts[-2:]
        found = [path for path in place.cwd.rglob(parts[-1]) if path.parts[-len(parts) :] == parts]
        assert {path.read_text() for path in found if path.is_file()} <= {"the user's"}, name
        assert not any(path.is_symlink() for path in found), name
        kept = [path for path in place.cwd.rglob(parts[-1]) if path.is_file() and not path.is_symlink()]
        assert "the user's" in [path.read_text() for path in kept], name


def test_what_lies_beside_them_is_left_alone(place: Place) -> None:
    said = place.shell(
        "mkdir -p .github/workflows .config mise; touch .github/workflows/ci.yml .config/app.toml mise/a.py mise.md"
    )
    assert "taken away" not in said and (place.cwd / "mise" / "a.py").exists()


# A project's links that run later (`.envrc`), what they lead to, and how a command would put something else there.
LEADS = {
    "to nothing yet": ("build/env", "mkdir build; echo planted > build/env"),
    "into a folder that is moved": ("scripts/env", "mv scripts s; mkdir scripts; echo planted > scripts/env"),
    "over a link that is turned": ("over", "ln -sfn other.txt over"),
    "over a folder's link that is turned": ("now/env", "mkdir v2; echo planted > v2/env; ln -sfn v2 now"),
    "and is made a file, with its inode": (
        "scripts/env",
        "i=$(stat -c %i .envrc); rm .envrc; for n in $(seq 500); do echo planted > .envrc; [ $(stat -c %i .envrc) = $i ] && break; mv .envrc x$n; done; echo planted >> .envrc",
    ),
    "and is made to lead elsewhere": ("scripts/env", "rm .envrc; ln -s other.txt .envrc"),
}


@pytest.mark.parametrize("kind", LEADS)
@pytest.mark.sample(2)
def test_where_a_link_leads_nothing_is_planted(place: Place, kind: str) -> None:
    target, command = LEADS[kind]
    for name in ("scripts/env", "v1/env", "kept.txt"):
        (place.cwd / name).parent.mkdir(exist_ok=True)
        (place.cwd / name).write_text("the user's\n")
    (place.cwd / "other.txt").write_text("planted\n")
    (place.cwd / "over").symlink_to("kept.txt")
    (place.cwd / "now").symlink_to("v1")
    (place.cwd / ".envrc").symlink_to(target)
    said = place.shell(command)
    assert "taken away" in said
    assert not (place.cwd / ".envrc").exists() or (place.cwd / ".envrc").read_text() == "the user's\n"


# What settings name, behind folders and links that run nothing themselves, and how a command would put others in their place.
ON_THE_WAY = {
    "a folder that is a link now": ("tools/run.sh", "mv tools t; ln -s evil tools"),
    "a folder further up": ("deep/down/run.sh", "mv deep d; mkdir e; mv evil e/down; ln -s e deep"),
    "a folder that was not there": ("new/run.sh", "ln -s evil new"),
    "a folder outside": ("new/run.sh", "cp evil/run.sh $TMPDIR; ln -s $TMPDIR new"),
    "links to links": ("new/run.sh", "ln -s evil e; ln -s e new"),
    "a link that is turned": ("over/run.sh", "ln -sfn evil over"),
    "the second of two links": ("two/links/run.sh", "ln -sfn ../evil inner/links"),
    "a folder that is left again": (
        "tools/../run.sh",
        "mkdir z; mv evil z/i; mv z/i/run.sh z; mv tools t; ln -s z/i tools",
    ),
}


@pytest.mark.parametrize("by", ["git", "moa"])
@pytest.mark.parametrize("kind", ON_THE_WAY)
@pytest.mark.sample(4)
def test_nothing_is_put_in_the_way_to_what_settings_name(place: Place, kind: str, by: str) -> None:
    name, command = ON_THE_WAY[kind]
    for there in ("tools/run.sh", "deep/down/run.sh", "run.sh"):
        (place.cwd / there).parent.mkdir(exist_ok=True, parents=True)
        (place.cwd / there).write_text("the user's")
    (place.cwd / "inner").mkdir()
    for link, to in (("over", "tools"), ("two", "inner"), ("inner/links", "../tools")):
        (place.cwd / link).symlink_to(to)
    if by == "git":
        git(place.cwd, "config", "alias.x", f"!sh {name}")
    else:
        (place.cwd / ".moa").mkdir()
        (place.cwd / ".moa/config.toml").write_text(f'[[hooks]]\nevent = "turn_end"\ncommand = "sh {name}"\n')
    place.shell(f"mkdir evil; echo planted > evil/run.sh; {command}; ln -s evil fine")
    assert not (place.cwd / name).exists() or (place.cwd / name).read_text() == "the user's"
    assert (place.cwd / "fine").is_symlink()


@pytest.mark.parametrize(
    "name",
    [
        ".envrc",
        ".husky/pre-commit",
        ".vscode/tasks.json",
        ".venv/bin/python",
        "hooks/pre-commit",
        "run.sh",
        ".git/config",
    ],
)
def test_what_a_folder_takes_along_is_not_changed_there(place: Place, name: str) -> None:
    """While a job goes on, what is there is known from before it, and is read-only for the commands beside it wherever it is now."""
    (repository(place.cwd / "a") / ".venv").mkdir()
    (place.cwd / "a/.venv/pyvenv.cfg").touch()
    if name != ".git/config":
        (place.cwd / "a" / name).parent.mkdir(exist_ok=True)
        (place.cwd / "a" / name).write_text("the user's")
    git(place.cwd, "config", "core.hooksPath", "a/hooks")
    git(place.cwd, "config", "alias.x", "!sh a/run.sh")
    place.shell(
        "(until [ -e stop ]; do sleep 0.05; done) > /dev/null 2>&1 &",
        "mv a b",
        f"echo planted >> b/{name}",
        "mv b a; touch stop",
        ":wait 1",
    )
    there = [file for each in "ab" if (file := place.cwd / each / name).exists()]
    assert not any("planted" in file.read_text() for file in there)


def test_a_repository_that_is_moved_runs_nothing_from_beside_its_new_place(place: Place) -> None:
    git(repository(place.cwd / "sub"), "config", "core.hooksPath", "../tools")
    place.shell(
        'mkdir -p x/tools; mv sub x; echo "$EVIL" > x/tools/pre-commit; chmod +x x/tools/pre-commit; ls -A x/sub'
    )
    place.later()
    assert not place.ran.exists() and (place.cwd / "x/sub").exists()


@pytest.mark.parametrize(
    "command",
    [
        "mv back b; mkdir -p back/.venv/bin; echo planted > back/.venv/bin/python",
        "rm .venv; mkdir -p .venv/bin; echo planted > .venv/bin/python",
    ],
)
def test_a_python_environment_is_not_put_in_the_place_of_another(place: Place, command: str) -> None:
    (place.cwd / "back" / ".venv" / "bin").mkdir(parents=True)
    (place.cwd / "back" / ".venv" / "pyvenv.cfg").touch()
    (place.cwd / ".venv").symlink_to("back/.venv")
    place.shell(command)
    assert not (place.cwd / ".venv" / "bin" / "python").exists()


@pytest.mark.parametrize("command", ["ln -P deep/.envrc .envrc", "mv deep/.envrc .envrc"])
def test_a_link_that_is_known_is_known_at_its_own_place_alone(place: Place, command: str) -> None:
    (place.cwd / "deep").mkdir()
    (place.cwd / "deep" / "real.sh").write_text("the user's\n")
    (place.cwd / "deep" / ".envrc").symlink_to("real.sh")
    said = place.shell(f"echo planted > real.sh; {command}")
    assert "taken away" in said and not (place.cwd / ".envrc").exists()
    assert (place.cwd / "deep" / ".envrc").read_text() == "the user's\n"


ACCOUNT = [
    ".bashrc",
    ".zshrc",
    ".config/autostart/x.desktop",
    ".ssh/rc",
    ".local/bin/ls",
    "bin/ls",
    ".gitconfig",
    ".newly",
]


@pytest.mark.parametrize("there", [True, False])
def test_in_the_home_folder_what_shells_and_desktops_run_is_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    place = Place(tmp_path, home)
    for name in ACCOUNT if there else ():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("the user's")
    place.shell(
        "; ".join(f"mkdir -p {Path(name).parent}; echo planted > {name}" for name in ACCOUNT) + "; echo fine > a"
    )
    assert (home / "a").read_text() == "fine\n"
    for name in ACCOUNT:
        text = (home / name).read_text() if (home / name).exists() else None
        assert text == ("the user's" if there else None), name


def test_work_goes_on_commits_too(place: Place) -> None:
    said = place.shell(
        "echo new > b.py; git add b.py; git -c user.name=a -c user.email=a@b commit -qm second; git checkout -qb topic; git status -s",
        "python3 -m venv --without-pip made; touch made/bin/x && echo again",
    )
    assert git(place.cwd, "log", "--format=%s", "topic").split() == ["second", "first"]
    assert "again" in said and "taken away" not in said, said


@pytest.mark.parametrize("moved", [False, True], ids=["another's", "the same, moved"])
def test_a_link_put_into_the_way_leads_nobody_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    """Between the look and the renaming a folder becomes a link to a repository outside."""
    outside = tmp_path / "outside" if moved else repository(tmp_path / "outside")
    project = repository(tmp_path / "project")
    seen = planted.survey([project])
    (project / "sub" / ".git").mkdir(parents=True)
    opened = os.open

    def meanwhile(path: str | Path, flags: int, *rest: Any, **more: Any) -> int:
        if path == project:  # it was found, and is about to be renamed
            (project / "sub").rename(outside if moved else tmp_path / "away")
            (project / "sub").symlink_to(outside)
            monkeypatch.undo()
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", meanwhile)
    assert seen.sweep() == []
    assert (project / "sub").is_symlink() and (outside / ".git").is_dir()


def test_a_folder_too_large_to_look_at_is_a_refusal(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted, "MOST_LOOKED_AT", 1)
    with pytest.raises(Exception, match="start in a smaller folder"):
        place.shell("true")


def test_a_further_folder_to_write_in_is_guarded_too(tmp_path: Path) -> None:
    other = repository(tmp_path / "other")
    place = Place(tmp_path, write=(str(other),))
    place.shell(f"cd {other}; echo x > .git/hooks/pre-commit; echo x > .envrc; echo fine > a.txt")
    assert (other / "a.txt").exists() and not (other / ".envrc").exists()
    assert not (other / ".git" / "hooks" / "pre-commit").exists()
