"""What an administrator does with the packages, on a machine that is thrown away: install, start, use,
restart with systemd's sockets, break, remove, purge.

usage: inside.py DEB RPM FOLDER     (in tests/machine.sh, by packages.py; FOLDER gets the relay's log)
"""

import json
import os
import pathlib
import pwd
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients"))

import python_client as client  # noqa: E402

DEB, RPM, FOLDER = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
MEMBERS, OPERATIONS = "http://127.0.0.1:8080", "http://127.0.0.1:9090"
CONFIG, SECRET = (pathlib.Path("/etc/lethewire") / n for n in ("lethewire.env", "join-token.secret"))
LOG = FOLDER / "relay.log"


def run(*command, fails=False):
    """A command's output; it must succeed, or fail where that is what is expected."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if (done.returncode != 0) != fails:
        log = LOG.read_text() if LOG.exists() else "it said nothing"
        log += subprocess.run(
            ["systemctl", "status", "--no-pager", "lethewire.service"], capture_output=True, text=True
        ).stdout
        raise SystemExit(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{log}")
    return done.stdout


def show(name):
    return run("systemctl", "show", "--property", name, "--value", "lethewire.service").strip()


def expect(seen, expected, what):
    if seen != expected:
        raise SystemExit(f"{what}: {seen!r} instead of {expected!r}")


def status(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as refusal:
        return refusal.code


def installed():
    """There, and not started before anybody said so."""
    run("dpkg", "-i", DEB)
    user = pwd.getpwnam("lethewire")
    expect((user.pw_uid < 1000, user.pw_shell), (True, "/usr/sbin/nologin"), "the user")
    expect(oct(SECRET.stat().st_mode & 0o777), "0o600", "the secret's mode")
    expect(len(SECRET.read_text().strip()), 64, "the secret's length")
    run("systemctl", "is-active", "lethewire.service", fails=True)
    units = [f"/usr/lib/systemd/system/lethewire.{kind}" for kind in ("service", "socket")]
    expect(run("systemd-analyze", "verify", "--man=no", *units), "", "systemd-analyze verify")
    # So that what it says is here to be read; not part of the package.
    folder = pathlib.Path("/etc/systemd/system/lethewire.service.d")
    folder.mkdir()
    (folder / "test.conf").write_text(f"[Service]\nStandardOutput=append:{LOG}\nStandardError=inherit\n")
    run("systemctl", "daemon-reload")
    return user


def started(user):
    """systemd comes back when the relay said that it is ready, and has locked it in."""
    run("systemctl", "enable", "--now", "lethewire.service")
    expect(status(OPERATIONS + "/ready"), 200, "/ready")
    run("/usr/bin/lethewire", "healthcheck")
    process = pathlib.Path("/proc") / show("MainPID")
    about = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    expect(about["Uid"].split()[0], str(user.pw_uid), "who it runs as")
    locked = {name: about[name] for name in ("NoNewPrivs", "Seccomp", "CapEff", "CapBnd")}
    nothing = "0" * 16
    expect(
        locked,
        {"NoNewPrivs": "1", "Seccomp": "2", "CapEff": nothing, "CapBnd": nothing},
        "what it may do",
    )
    # Threads for newcomers stand behind those for members: field 19 of proc_pid_stat(5).
    threads = [(task / "stat").read_text().rpartition(")") for task in (process / "task").iterdir()]
    niceness = {name.partition("(")[2]: int(rest.split()[16]) for name, _, rest in threads}
    expect((niceness["lethewire-front"], niceness["lethewire"]), (5, 0), "priorities")
    # Its own view of the file system: nothing of root's, nothing to write.
    mounts = (process / "mountinfo").read_text()
    root = [line.split()[5] for line in mounts.splitlines() if line.split()[4] == "/"]
    expect(root[-1].split(",")[0], "ro", "its root")
    expect("/run/credentials/lethewire.service" in mounts, True, "its own credentials")


def used():
    client.run(MEMBERS)


def restarted_behind_sockets():
    """With systemd's socket nobody is refused while the relay is replaced."""
    run("systemctl", "stop", "lethewire.service")
    run("systemctl", "enable", "--now", "lethewire.socket")
    run("systemctl", "start", "lethewire.service")
    before = show("MainPID")
    restart = subprocess.Popen(["systemctl", "restart", "lethewire.service"])
    answers = 0
    while restart.poll() is None or answers == 0:
        # Refused would be an exception.
        with socket.create_connection(("127.0.0.1", 8080), timeout=20) as asking:
            asking.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = asking.recv(100)
        # A connection that was taken at the very end is closed without an answer; none is refused.
        answers += answer.startswith(b"HTTP/1.1 ")
    expect(restart.returncode, 0, "systemctl restart")
    expect(show("MainPID") == before, False, "the same process as before")
    client.run(MEMBERS)
    run("systemctl", "disable", "--now", "lethewire.socket", "lethewire.service")


def ended_well():
    """Every end so far was a drain, and nothing that the relay wanted was forbidden."""
    said = [json.loads(line) for line in LOG.read_text().splitlines()]
    expect(sum(line["message"] == "stopped" for line in said), 3, "ends in the log")
    # These two say what the administrator has not set yet.
    unset = ("CORS_ALLOWED_ORIGINS is empty", "PUBLIC_URL is not set")
    bad = [line for line in said if line["level"] in ("WARN", "ERROR")]
    expect([line for line in bad if not line["message"].startswith(unset)], [], "warnings")


def not_tried_for_ever():
    """A configuration that cannot be used is said once."""
    with CONFIG.open("a") as file:
        file.write("DRAIN_RATE_PER_S=0\n")
    run("systemctl", "start", "lethewire.service", fails=True)
    expect(show("ExecMainStatus"), "78", "the exit status")
    # And not waiting for the next try.
    expect(show("ActiveState"), "failed", "its state")
    run("systemctl", "reset-failed", "lethewire.service")


def gone():
    run("dpkg", "-r", "lethewire")
    expect(pathlib.Path("/usr/bin/lethewire").exists(), False, "the binary")
    expect((CONFIG.exists(), SECRET.exists()), (True, True), "what is kept")
    expect(CONFIG.read_text().endswith("DRAIN_RATE_PER_S=0\n"), True, "what was changed")
    run("dpkg", "-P", "lethewire")
    expect((CONFIG.exists(), SECRET.exists()), (False, False), "what is purged")


def by_rpm():
    """The other package has scripts of its own. What it depends on is not in rpm's list on this system."""
    run("rpm", "--install", "--nodeps", RPM)
    expect(oct(SECRET.stat().st_mode & 0o777), "0o600", "the secret's mode")
    run("systemctl", "start", "lethewire.service")
    expect(status(OPERATIONS + "/ready"), 200, "/ready")
    run("rpm", "--erase", "--nodeps", "lethewire")
    run("systemctl", "is-active", "lethewire.service", fails=True)
    left = (pathlib.Path("/usr/bin/lethewire").exists(), CONFIG.exists(), SECRET.exists())
    expect(left, (False, False, True), "binary, configuration and secret")


def main():
    os.chdir("/")
    began = time.monotonic()
    user = installed()
    started(user)
    used()
    restarted_behind_sockets()
    ended_well()
    not_tried_for_ever()
    gone()
    by_rpm()
    print(f"installed, started, used, restarted, removed in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
