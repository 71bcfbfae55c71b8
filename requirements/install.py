"""Make `.venv` anew from a hashed lock: `python3 requirements/install.py runtime` (or `dev`).

Any other name is an environment of its own inside it, for a test's emulator whose dependencies
clash with ours: `ministack` makes `.venv/ministack`, beside `dev`, which has to be there.

The Makefile calls this; it needs nothing but Python 3.11 with `venv` and a package index. Packages
come by uv, which is itself installed from a hashed lock, and by pip where uv can't be had. A stamp
is written last, so an environment whose making was interrupted is made again.
"""

import ast
import fcntl
import hashlib
import json
import os
import platform
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"

#: uv does not read pip's configuration; what pip calls a setting, what uv calls it, and how uv
#: separates several values.
_PIP_TO_UV = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "proxy": ("ALL_PROXY", " "),
    "default-timeout": ("UV_HTTP_TIMEOUT", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
}


def main(name: str) -> None:
    """Bring `.venv` up to `requirements/{name}.txt`, unless it is there already."""
    with _alone():
        if _is_current(name):
            _stamp(name).touch()
            return
        if name not in {"runtime", "dev"}:
            _make_beside(name)
            return
        print("Making .venv with Python", platform.python_version(), "…", flush=True)
        develops = _stamp("dev").exists()
        # What `make demo` made, and may be running from, is added to and not taken away.
        begins_anew = develops or not _is_current("runtime")
        for each in ("runtime", "dev"):
            _stamp(each).unlink(missing_ok=True)
        if begins_anew:
            venv.create(VENV, clear=True, with_pip=True, symlinks=True)
        made = ("runtime", "dev") if develops or name == "dev" else ("runtime",)
        _install(made[-1])
        for each in made:
            _stamp(each).write_text(_fingerprint(each))


def _make_beside(name: str) -> None:
    """Make `.venv/{name}` by the tools of `.venv`; clearing `.venv` takes it away with the rest."""
    folder = VENV / name
    print("Making", folder.relative_to(ROOT), "…", flush=True)
    _stamp(name).unlink(missing_ok=True)
    venv.create(folder, clear=True, symlinks=True)
    python = str(folder / "bin" / "python")
    lock = ["--require-hashes", *_requirements(name)]
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--python", python]
    try:
        _run([*uv, *lock], _uv_environment(_pip_settings(), os.environ))
    except (FileNotFoundError, subprocess.CalledProcessError):
        _run([python, "-m", "ensurepip"], os.environ)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *lock], os.environ)
    _stamp(name).write_text(_fingerprint(name))


def _install(name: str) -> None:
    locks = ["--require-hashes", *_requirements("build", name)]
    install = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    environment = dict(os.environ)
    try:
        _run([*install, "--require-hashes", *_requirements("bootstrap")], environment)
        uv = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(PYTHON)]
        uv_environment = _uv_environment(_pip_settings(), environment)
        _run([*uv, *locks], uv_environment)
        install, environment = uv, uv_environment
    except subprocess.CalledProcessError:
        print("uv does not work here: installing by pip, about a minute …", flush=True)
        _run([*install, *locks], environment)
    itself = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    _run([*install, *itself], environment)


def _requirements(*names: str) -> list[str]:
    return [part for name in names for part in ("-r", str(LOCKS / f"{name}.txt"))]


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    subprocess.run(command, check=True, cwd=ROOT, env=environment)


def _stamp(name: str) -> Path:
    return VENV / f"{name}.stamp"


def _is_current(name: str) -> bool:
    stamp = _stamp(name)
    return stamp.exists() and stamp.read_text() == _fingerprint(name)


def _fingerprint(name: str) -> str:
    """Digest what an environment is made of: the interpreter, the locks, the package's own data."""
    digest = hashlib.sha256(f"{sys.executable} {sys.version}".encode())
    for lock in ("bootstrap", "build", name):
        digest.update((LOCKS / f"{lock}.txt").read_bytes())
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    digest.update(json.dumps([package["build-system"], package["project"]]).encode())
    return digest.hexdigest()


def _pip_settings() -> dict[str, str]:
    """Read pip's effective settings: `[global]`, over it `[install]`, over that variables."""
    listing = subprocess.run(
        [str(PYTHON), "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in found:
            found[section][key] = str(ast.literal_eval(value))
    return found["global"] | found["install"] | found[":env:"]


def _uv_environment(pip: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Say to uv what pip is configured with; what is said to uv itself stands."""
    said: dict[str, str] = {}
    for setting, (variable, separator) in _PIP_TO_UV.items():
        if pip.get(setting):
            said[variable] = separator.join(pip[setting].split())
    if "UV_INDEX" in said:
        # As pip does: any index may serve any package. The hashes say which file is meant.
        said["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {**said, **environment}


@contextmanager
def _alone() -> Iterator[None]:
    """Let `make demo` and `make test`, started together, make one environment."""
    folder = os.open(LOCKS, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("Interrupted; the next make begins .venv anew.")
    except subprocess.CalledProcessError as error:
        sys.exit(f"Could not make .venv: {error.cmd[0]} failed; is a package index reachable?")
