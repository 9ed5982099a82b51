"""The unit and the packages: verified, scored, built, and used on a machine that is thrown away."""

import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

from manifests import ROOT
from running import BINARY, SPARE, drain_fits, end_of_bus

UNIT = ROOT / "deploy/systemd/lethewire.service"
# What `systemd-analyze security` finds, and why it stays: a relay serves the network, reads its
# configuration from the host, and asks /proc/stat when the machine was started.
EXPOSED = {
    "DeviceAllow",  # char-rtc, by ProtectClock itself
    "IPAddressDeny",
    "PrivateNetwork",
    "ProcSubset",
    "RestrictAddressFamilies_AF_INET_INET6",
    "RestrictAddressFamilies_AF_UNIX",
    "RootDirectoryOrRootImage",
    "SystemCallFilter_resources",  # setpriority(2), of all of them, and only to less
}
# Its score, times ten; 0 is best.
SCORE_MAX = 12
# Seconds that sockets are left to the next process for (src/server/listen.rs).
LEAVE_TIME = 1


def run(*command, **options):
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}:\n{done.stdout}")
    return done.stdout


def check_score():
    """No hardening is lost."""
    security = ("systemd-analyze", "security", "--offline=true", "--no-pager")
    said = run(*security, f"--threshold={SCORE_MAX}", UNIT)
    findings = json.loads(run(*security, "--json=short", UNIT))
    exposed = {finding["json_field"] for finding in findings if finding["set"] is False}
    if exposed != EXPOSED:
        raise SystemExit(f"exposed, or not any more: {sorted(exposed ^ EXPOSED)}")
    return re.search(r"exposure level for lethewire.service: ([\d.]+)", said).group(1)


def check_stop():
    """systemd does not kill a relay that drains."""
    # Without an environment it is what is built in, as the package's file leaves it.
    config = tomllib.loads(
        subprocess.run([BINARY, "config"], env={}, check=True, capture_output=True, text=True).stdout
    )
    assert drain_fits(config) <= config["server"]["shutdown_timeout_s"]
    notice = max(LEAVE_TIME, config["server"]["drain_notice_ms"] / 1000)
    whole = notice + config["server"]["shutdown_timeout_s"] + end_of_bus(config, 3) + SPARE
    stop = int(re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE).group(1))
    if whole > stop:
        raise SystemExit(f"ending takes up to {whole} s, and is killed after {stop} s")
    return f"{whole:.0f} s of {stop} s"


def build(kind, folder):
    run(ROOT / "deploy/packages/build.sh", kind, folder, env={**os.environ, "LETHEWIRE_BIN": BINARY})
    (package,) = pathlib.Path(folder).rglob(f"*.{kind}")
    return package


def files_of_deb(package):
    """Paths and modes of its files."""
    lines = run("dpkg-deb", "--contents", package).splitlines()
    return {line.split()[5][1:] for line in lines if not line.startswith("d")}


def check_contents(folder, deb, rpm):
    """Both packages have the same files, and what is an administrator's is kept."""
    tree = pathlib.Path(folder) / "tree"
    run("dpkg-deb", "--extract", deb, tree)
    listed = run("rpm", "--query", "--list", "--package", rpm).split()
    # The one place that distributions differ in.
    listed = [path.replace("zsh/site-functions", "zsh/vendor-completions") for path in listed]
    in_rpm = {path for path in listed if not (tree / path[1:]).is_dir()}
    if files_of_deb(deb) != in_rpm:
        raise SystemExit(f"not in both packages: {sorted(files_of_deb(deb) ^ in_rpm)}")
    kept = run("rpm", "--query", "--configfiles", "--package", rpm).split()
    if kept != ["/etc/lethewire/lethewire.env"]:
        raise SystemExit(f"an upgrade of the .rpm keeps {kept}")
    check_help(tree / "usr/share")
    return len(in_rpm)


def check_help(share):
    """The manual page and bash's completion are what their readers understand."""
    page = gzip.decompress((share / "man/man1/lethewire.1.gz").read_bytes()).decode()
    complaints = run("groff", "-man", "-ww", "-z", "-K", "utf8", input=page)
    if complaints or ".SH" not in page:
        raise SystemExit(f"the manual page: {complaints or 'no sections'}")
    run("bash", "-n", share / "bash-completion/completions/lethewire")


def use(deb, rpm, folder):
    """Installs and uses the packages where nothing of it stays."""
    work = pathlib.Path(folder) / "machine"
    out = work / "out"
    out.mkdir(parents=True)
    for package in (deb, rpm):
        shutil.copy2(package, out)
    (work / "project").symlink_to(ROOT)
    # The same interpreter, with the packages of its environment, where the project is there.
    python = pathlib.Path("/srv/lethewire") / pathlib.Path(sys.executable).relative_to(ROOT)
    script = f"{python} tests/deploy/inside.py /out/{deb.name} /out/{rpm.name} /out\n"
    (out / "script").write_text(script)
    environment = {**os.environ, "MACHINE_SECONDS": "100"}
    command = ["setpriv", "--pdeathsig", "KILL", ROOT / "tests/machine.sh", work]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = out / "log"
    said = log.read_text().strip() if log.exists() else f"nothing was started: {done.stdout}"
    if done.returncode:
        raise SystemExit(f"on a machine of its own ({done.returncode}):\n{said}")
    return said.splitlines()[-1]


def check_packages():
    """Both packages, and what an administrator does with them."""
    with tempfile.TemporaryDirectory() as folder:
        deb, rpm = build("deb", f"{folder}/deb"), build("rpm", f"{folder}/rpm")
        if deb.read_bytes() != build("deb", f"{folder}/again").read_bytes():
            raise SystemExit("the same binary made two different packages")
        files = check_contents(folder, deb, rpm)
        return f"{files} files; {use(deb, rpm, folder)}"
