"""What tools do not read, whatever the settings say: keys, credentials, histories, browsers' stores, and what is this program's own.

Two lists. What is on the first (`why_never`) no tool reads, lists or sends. What is on the second (`why_private`) holds secrets as
often as not, and is asked about each time; so is what lies outside of the project (`is_outside`). docs/safety.md has them in words.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from agent.files.project import project_root
from agent.files.protected import spelled

Parts = tuple[str, ...]

KEYS = "keys and credentials"
HISTORY = "a history of what was typed"
BROWSER = "a browser's or a mail program's own"
OWN = "this program's own settings and conversations"
PROCESS = "the inside of a process, its environment too"
DEEPEST = 200
"""Folders in a path; what lies deeper is not looked at."""

# Below the home folder; and, outside of the project, below any other folder (another user's home, a backup of one).
_IN_HOMES: dict[str, tuple[str, ...]] = {
    KEYS: (
        *(".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker/config.json", ".netrc", "_netrc", ".git-credentials"),
        *(".npmrc", ".yarnrc", ".yarnrc.yml", ".pypirc", ".pgpass", ".my.cnf", ".mylogin.cnf", ".boto", ".s3cfg", ".dockercfg"),
        *(".config/gcloud", ".config/gh", ".config/hub", ".config/glab-cli", ".config/git/credentials", ".config/rclone"),
        *(".config/op", ".config/sops", ".config/doctl", ".config/heroku", ".config/openai", ".config/anthropic"),
        *(".config/containers/auth.json", ".config/pypoetry/auth.toml", ".config/composer/auth.json", ".composer/auth.json"),
        *(".local/share/keyrings", ".password-store", ".local/share/kwalletd", ".gem/credentials", ".terraform.d", ".terraformrc"),
        *(".cargo/credentials", ".cargo/credentials.toml", ".gradle/gradle.properties", ".m2/settings.xml", ".m2/settings-security.xml"),
        *(".vault-token", ".fly", ".netlify", ".vercel", ".railway", ".oci", ".config/hcloud", ".huggingface/token"),
        *(".cache/huggingface/token", ".config/Code/User/globalStorage", ".claude/.credentials.json", ".claude.json", ".codex/auth.json", ".gemini"),
        *(".config/age", ".config/github-copilot", ".config/1Password", ".config/Bitwarden", ".config/Bitwarden CLI", ".config/keepassxc"),
        *(".config/attic", ".config/cachix", ".config/ngrok", ".ngrok2", ".config/pulumi", ".pulumi/credentials.json", ".databrickscfg"),
        *(".local/share/opencode/auth.json", ".pi/agent/auth.json", ".config/io.datasette.llm/keys.json", ".authinfo", ".authinfo.gpg"),
        *(".config/Code - Insiders/User/globalStorage", ".config/VSCodium/User/globalStorage", ".config/Cursor/User/globalStorage"),
        *(".config/Windsurf/User/globalStorage", "Library/Application Support/Code/User/globalStorage", ".subversion/auth"),
        *("Library/Application Support/VSCodium/User/globalStorage", "Library/Application Support/Cursor/User/globalStorage"),
        *("Library/Application Support/io.datasette.llm/keys.json",),
        *(".snowflake", ".kaggle", ".wandb", ".config/linode-cli", ".config/scw", ".bluemix", ".passwd-s3fs", ".cloudflared", ".ssh2"),
        *("Library/Keychains", "AppData/Roaming/Microsoft/Credentials", "AppData/Local/Microsoft/Credentials"),
    ),
    HISTORY: (
        *(".bash_history", ".zsh_history", ".zhistory", ".histfile", ".sh_history", ".ash_history", ".history", ".zsh_sessions"),
        *(".python_history", ".node_repl_history", ".psql_history", ".mysql_history", ".sqlite_history", ".rediscli_history"),
        *(".irb_history", ".php_history", ".lesshst", ".viminfo", ".local/share/fish", ".local/share/xonsh", ".local/share/nu"),
        *(".config/nushell/history.txt", ".config/nushell/history.sqlite3", ".local/state/nvim/shada", ".local/share/nvim/shada", ".local/share/atuin", ".bash_sessions"),
        *(".local/state/zsh", ".local/state/bash", ".local/share/zsh/history", ".local/share/bash/history", ".local/state/python_history"),
    ),
    BROWSER: (
        *(".mozilla", ".thunderbird", ".config/google-chrome", ".config/chromium", ".config/BraveSoftware", ".config/vivaldi"),
        *(".config/microsoft-edge", ".config/opera", ".librewolf", ".waterfox", ".config/Signal", ".config/Slack", ".config/discord"),
        *(".config/mozilla", ".config/librewolf", ".config/thunderbird", ".zen", ".floorp", ".config/zen", ".config/Element"),
        *("snap/firefox", "snap/chromium", ".var/app/org.mozilla.firefox", ".var/app/com.google.Chrome", ".var/app/org.chromium.Chromium"),
        *("Library/Application Support/Google/Chrome", "Library/Application Support/Firefox", "Library/Application Support/Chromium"),
        *("Library/Safari", "Library/Cookies", "Library/Mail", "Library/Messages", "AppData/Local/Google/Chrome"),
        *("AppData/Roaming/Mozilla", "AppData/Local/Microsoft/Edge"),
    ),
}  # fmt: skip
# The same wherever they lie, in the project too.
_NAMES = {
    **dict.fromkeys((".netrc", "_netrc", ".git-credentials", ".pgpass", ".pypirc", ".vault-token"), KEYS),
    **dict.fromkeys(("logins.json", "key4.db", "cookies.sqlite", "login data"), BROWSER),
}
_ENDINGS = (".ppk", ".kdbx", ".kdb", ".agilekeychain", ".keychain-db")
HOME_PLACES = tuple(place for places in _IN_HOMES.values() for place in places)
"""All of these, from a home folder."""
PLACES = (
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/ssl/private",
    "/etc/krb5.keytab",
    "/etc/wireguard",
    "/run/secrets",
)
# What editors and people leave beside a file holds what is in it: #name#, .#name, name~, name.bak, name.~1~, .name.swp.
_MARK = r"(?:\.?\#|\.)?"
_END = r"(?:[~#]|[-_.](?:bak|old|orig(?:inal)?|save|backup|sw[a-p]|tmp|copy|prev)|\.~?\d+~?)"
_COPY = rf"{_END}{{0,3}}"
_MAYBE_COPIED = re.compile(rf"\A\.?\#|{_END}\Z", re.DOTALL)
_COPIED = re.compile(rf"(?:\.(?=.*\.sw[a-p]\Z))?(?:\.?\#)?(?P<name>.+?){_COPY}", re.DOTALL)
_PRIVATE_KEY = re.compile(  # the public half is not meant
    rf"{_MARK}(?:ssh_host_\w+_key|id_(?:rsa|dsa|xmss|ecdsa|ed25519|ecdsa_sk|ed25519_sk))(?:\.txt)?{_COPY}", re.DOTALL
)
_SHELL_HISTORY = re.compile(r"\.(?:bash|zsh|python)_history(?:[.~-].*)?", re.DOTALL)
_PROCESS = re.compile(r"\d+|self|thread-self")

# Asked about each time.
_PRIVATE_NAMES = re.compile(
    rf"{_MARK}(?:\.env|\.env[-_.](?!.*(?:example|sample|template|dist|defaults?)[~#]?\Z).+|.+\.env(?:\.local)?|\.envrc(?:[-_.].+)?"
    r"|\.npmrc|\.yarnrc\.yml|\.htpasswd|\.dockercfg|.+\.(?:pem|key|p12|pfx|p8|jks|keystore|tfvars(?:\.json)?|tfstate)"
    r"|(?:secrets?|credentials?)\.(?:ya?ml|json|toml|ini|env|txt)|service[-_]?account.*\.json|\.secrets?|\.credentials"
    r"|(?:[^/]+-)?firebase-adminsdk.*\.json|client_secrets?(?:[-_.].+)?\.json|\.dev\.vars(?:\..+)?|\.flaskenv|local\.settings\.json"
    r"|kubeconfig(?:\.ya?ml)?|.+\.ovpn|auth\.json)"
    rf"{_COPY}",
    re.DOTALL,
)
# Of the keys of a home folder those that a project may keep itself (a folder of dotfiles, a test's own cluster). What else lies in such
# folders there is mostly settings.
_KEPT_FILES = (
    *(".aws/credentials", ".aws/sso/cache", ".aws/cli/cache", ".kube/config", ".docker/config.json", ".azure/msal_token_cache.json"),
    *(".cargo/credentials", ".cargo/credentials.toml", ".gem/credentials", ".pulumi/credentials.json", ".m2/settings-security.xml"),
    *(".config/gh/hosts.yml", ".config/gcloud/credentials.db", ".config/gcloud/application_default_credentials.json"),
    *(".config/rclone/rclone.conf", ".terraform.d/credentials.tfrc.json", ".terraformrc", ".databrickscfg", ".authinfo", ".my.cnf"),
    *(".mylogin.cnf", ".boto", ".s3cfg", ".passwd-s3fs", ".claude/.credentials.json", ".claude.json", ".composer/auth.json"),
)  # fmt: skip
_KEPT_KEYS = re.compile(rf"(?:{'|'.join(map(re.escape, _KEPT_FILES))})(?:/.*|{_COPY})", re.DOTALL)
_SHELL_FILES = re.compile(
    rf"{_MARK}\.(?:bashrc|bash_profile|bash_login|profile|zshrc|zshenv|zprofile|zlogin|kshrc|xprofile|pam_environment|gitconfig|hgrc){_COPY}"
)
_GIT_SETTINGS = re.compile(rf"{_MARK}config(?:\.worktree|\.lock)?{_COPY}")
_HG_SETTINGS = re.compile(rf"{_MARK}hgrc{_COPY}")
"""Addresses stand in there, now and then with a token: https://me:ghp_…@host."""


# The end of a path that may be one of them; `.` is for names that go over a line's end.
_MAYBE_PRIVATE = re.compile(
    rf"(?:^|/)(?:{_PRIVATE_NAMES.pattern}|{_SHELL_FILES.pattern}|{_GIT_SETTINGS.pattern}|{_HG_SETTINGS.pattern}|{_KEPT_KEYS.pattern})\Z",
    re.DOTALL,
)


def _real(path: Path) -> Path:
    """Where a path leads. A link that leads to itself leads to itself: `Path.resolve` raises there, and one in our own folder is no reason
    not to start."""
    return Path(os.path.realpath(path))


class OwnFolders(Protocol):
    """Where this program keeps what is its own."""

    @property
    def config(self) -> Path:
        """The user's settings."""

    @property
    def state(self) -> Path:
        """Conversations, and what was called."""


class Fence:
    """The lists for one session. `root` is the project, `own` this program's folders, `scratch` what of them this session reads.

    `open_to` are further folders that count as the project. Names are compared as file systems do that know neither case nor other
    Unicode forms. A hard link can't be told from its file.
    """

    def __init__(
        self, root: Path, *, own: OwnFolders | None = None, scratch: Path | None = None, open_to: Iterable[Path] = ()
    ) -> None:
        home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
        self._homes = {_spelled(form) for form in (home, _real(home))}
        self._roots = {_spelled(form) for form in (root.absolute(), _real(root))}
        self._relative = _in_homes()
        self._places = dict.fromkeys(_of_the_system(), KEYS)
        self._open: set[Parts] = set()
        self._readable: list[Path] = [_real(root), *(_real(folder) for folder in open_to)]
        if own is not None:
            for folder in (own.config, own.state):
                self._places |= {_spelled(form): OWN for form in (folder, _real(folder))}
            # What a user writes for models to read, and what this session's commands have put down.
            shared = [own.config / name for name in ("skills", "commands", "presets", "AGENTS.md")]
            shared += [scratch] if scratch is not None else []
            self._open = {_spelled(form) for place in shared for form in (place, _real(place))}
            self._readable += [_real(place) for place in shared]
        self._folders: dict[Parts, tuple[Parts, str | None]] = {}

    @classmethod
    def of(cls, cwd: Path, own: OwnFolders, sandbox: Mapping[str, Any], *, scratch: Path) -> Fence:
        """The fence of a session that works in `cwd`; folders that `[sandbox]` names are the user's word that they may be looked at."""
        named = (name for key in ("read", "write") for name in sandbox.get(key, ()) if isinstance(name, str))
        folders = [Path(name).expanduser() for name in named]
        return cls(project_root(cwd) or cwd, own=own, scratch=scratch, open_to=(cwd, *folders))

    def why_never(self, parts: Parts) -> str | None:
        """What a path holds that no tool reads; None for others. `parts` are those of an absolute path below its root, links followed
        or not: it is asked about both."""
        return self._look(parts)[1] if parts else None

    def _look(self, parts: Parts) -> tuple[Parts, str | None]:
        if not parts:
            return (), None
        if len(parts) > DEEPEST:
            return tuple(map(spelled, parts)), KEYS
        if parts[:-1] not in self._folders:
            self._folders[parts[:-1]] = self._look(parts[:-1])
        above, why = self._folders[parts[:-1]]
        path = (*above, spelled(parts[-1]))
        if path in self._open:
            return path, None
        return path, why or self._places.get(path) or self._by_name(path)

    def _by_name(self, path: Parts) -> str | None:
        if (found := self._by_this_name(path)) or not _MAYBE_COPIED.search(path[-1]):
            return found
        plain = _COPIED.fullmatch(path[-1])
        return self._by_this_name((*path[:-1], plain["name"])) if plain else None

    def _by_this_name(self, path: Parts) -> str | None:
        name = path[-1]
        if found := _NAMES.get(name):
            return found
        if name.endswith(_ENDINGS) or _PRIVATE_KEY.fullmatch(name):
            return KEYS
        if _SHELL_HISTORY.fullmatch(name):
            return HISTORY
        if len(path) == 2 and path[0] == "proc" and _PROCESS.fullmatch(name):
            return PROCESS
        for size in range(1, min(5, len(path)) + 1):
            found = self._relative.get(path[-size:])
            if found and (path[:-size] in self._homes or not self._in_project(path)):
                return found
        return None

    def _in_project(self, path: Parts) -> bool:
        return self._below_root(path) is not None

    def _below_root(self, path: Parts) -> Parts | None:
        return next((path[len(root) :] for root in self._roots if path[: len(root)] == root), None)

    def why_private(self, path: Path) -> str | None:
        """Why a path (absolute, links followed) is asked about wherever it lies; None for others."""
        name = spelled(path.name)
        if _PRIVATE_NAMES.fullmatch(name):
            return "files of this name hold keys as often as not"
        folder = _spelled(path.parent)
        if _SHELL_FILES.fullmatch(name) and (folder in self._homes or not self._in_project(folder)):
            return "files of this name hold keys as often as not"
        if (_GIT_SETTINGS.fullmatch(name) and any(part.endswith(".git") or part == ".jj" for part in folder)) or (
            _HG_SETTINGS.fullmatch(name) and folder[-1:] == (".hg",)
        ):
            return "an address in it may have a password"
        below = self._below_root((*folder, name)) or ()
        if any(_KEPT_KEYS.fullmatch("/".join(below[at:])) for at in range(len(below))):
            return "in a home folder this holds keys"
        return None

    def private_among(self, folder: Path, names: Iterable[str]) -> list[str]:
        """Those of many names below a folder that `why_private` has something to say of. Quick: hardly any does."""
        return [
            name
            for name in names
            if (not name.isascii() or _MAYBE_PRIVATE.search(name.casefold())) and self.why_private(folder / name)
        ]

    def is_outside(self, path: Path) -> bool:
        """Whether a path (absolute, links followed) lies outside of what this session works on."""
        return not any(path.is_relative_to(folder) for folder in self._readable)


@cache
def _in_homes() -> Mapping[Parts, str]:
    """What is private in a home folder, as it is compared, and why. The same for every session."""
    return {_spelled(Path(place)): kind for kind, places in _IN_HOMES.items() for place in places}


@cache
def _of_the_system() -> tuple[Parts, ...]:
    return tuple(_spelled(Path(place)) for place in PLACES)


def _spelled(path: Path) -> Parts:
    return tuple(spelled(part) for part in path.parts if part != os.sep)
