"""What this machine must have installed, and what is missing, in Debian's words."""

import shutil
from collections.abc import Iterable

from rekam.domain.errors import Misconfigured

DEBIAN_PACKAGES = {
    "java": "openjdk-17-jre-headless",
    "javac": "openjdk-17-jdk-headless",
    "mvn": "maven",
    "setpriv": "util-linux",
}


def missing_commands(commands: Iterable[str]) -> list[str]:
    """Return those of `commands` that are not on the PATH, in the given order."""
    return [command for command in commands if shutil.which(command) is None]


def require_commands(*commands: str) -> None:
    """Check that every command is installed.

    Raises Misconfigured once, naming all that is missing with its Debian package.
    """
    missing = missing_commands(commands)
    if missing:
        packages = " ".join(DEBIAN_PACKAGES[command] for command in missing)
        raise Misconfigured(
            [f"missing on this machine: {', '.join(missing)}. Run: apt-get install -y {packages}"]
        )
