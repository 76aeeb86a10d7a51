"""No device or relay is made in a container's own layer, unless somebody says that it is kept."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.outboxes import READER
from tests.support.receipts import RECEIPT_KEY

MOUNT = (
    'mount -t tmpfs layer "$1" && mkdir "$1/lower" "$1/upper" "$1/work" "$1/merged" && '
    "mount -t overlay layer "
    '-o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work" "$1/merged"'
)
"""A real overlay, in a mount namespace that is gone with the shell. Upper layer: memory."""

RELAY = ("relay", "run", "--port", "0", "--route", "http://127.0.0.1:1")


def in_layer(point: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script with an overlay at $1/merged; $PYTHON is this interpreter."""
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{MOUNT} && {{ {script}; }}", "sh", str(point)],
        env={"PATH": os.environ["PATH"], "PYTHON": sys.executable, "REKAM_HOME": str(point / "h")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def point(tmp_path: Path) -> Path:
    """Return a folder in which overlays can be mounted."""
    point = tmp_path / "point"
    point.mkdir()
    if in_layer(point, "true").returncode:
        pytest.skip("an overlay can be mounted by root alone, and not in every container")
    (tmp_path / "reader.pub").write_text(READER.public.to_text())
    (tmp_path / "receipt.pub").write_text(RECEIPT_KEY.public.to_text())
    return point


def init(point: Path, *, flags: str = "") -> str:
    keys = f"--reader {point.parent}/reader.pub --receipt-key {point.parent}/receipt.pub"
    home = '--home "$1/merged/home"'
    return f'"$PYTHON" -m rekam device init --producer dev-1 {keys} {home} {flags}'


def test_a_device_is_refused_and_told_of_the_volume_and_the_flag(point: Path) -> None:
    found = in_layer(point, f'{init(point)}; echo $?; ls -A "$1/merged"')
    assert found.stdout == "2\n"
    for word in ("lies on overlay", "Mount a volume", "--in-container-layer"):
        assert word in found.stderr


def test_who_says_that_the_layer_is_kept_is_warned_each_time(point: Path) -> None:
    append = '"$PYTHON" -m rekam device append --home "$1/merged/home" </dev/null'
    found = in_layer(point, f"{init(point, flags='--in-container-layer')} && {append}")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["producer"] == "dev-1"
    assert found.stderr.count("outbox_in_container_layer") >= 2


def test_a_new_relay_is_refused(point: Path) -> None:
    words = " ".join((*RELAY, "--receipt-key", f"{point.parent}/receipt.pub"))
    script = f'"$PYTHON" -m rekam {words} --home "$1/merged/relay"; echo $?; ls -A "$1/merged"'
    found = in_layer(point, script)
    assert found.stdout == "2\n", found.stderr
    assert "relay.db lies on overlay" in found.stderr
