"""The service under a real systemd: installed, started, drained, killed, hung, given a damaged plan, updated.

usage: systemd_test.py REPOSITORY JLLM PLAN
A systemd of its own is booted in namespaces (processes, mounts, network, cgroups) on an overlay of this machine's files:
nothing outside is changed. Where that cannot be, as without root's rights, or beside a systemd that runs the machine and
would have to share its cgroups, the test is skipped, with the reason.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--net", "--cgroup", "--kill-child", "--propagation", "private"]
BOOT = """set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mkdir -p srv/jllm
cp -r "$2/tools" "$2/packaging" srv/jllm/
cp "$3" srv/jllm/jllm
cp "$4" srv/jllm/plan.jllm
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
ip link set lo up
rm -rf etc/systemd/system etc/jllm var/lib/jllm
: >etc/machine-id
exec chroot . env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=basic.target
"""


def skip(why):
    print(f"SKIPPED: {why}")
    sys.exit(SKIPPED)


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def wait_until(condition, seconds, what):
    """The first value of condition() that is true."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        expect(time.monotonic() < end, f"not within {seconds} s: {what}")
        time.sleep(0.1)


class Machine:
    """A booted systemd and what can be asked of it."""

    def __init__(self, folder, files):
        self.outer = subprocess.Popen([*UNSHARE, "bash", "-c", BOOT, "boot", folder, *files], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.init = None

    def booted(self):
        if self.outer.poll() is not None:
            return True
        with open(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children", encoding="ascii") as file:
            self.init = file.read().strip()
        return self.init and self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")

    def run(self, *command, check=True):
        done = subprocess.run(["nsenter", "-t", self.init, "-m", "-p", "-u", "-i", "-n", "-C", "-r", "-w", *command],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        expect(done.returncode == 0 or not check, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def show(self):
        text = self.run("systemctl", "show", "-p", "MainPID,ActiveState,Result,NRestarts,ExecMainStatus", "jllm").stdout
        return dict(line.split("=", 1) for line in text.splitlines())

    def restarted(self, times):
        state = self.show()
        return int(state["NRestarts"]) >= times and state["ActiveState"] == "active"

    def end(self):
        self.outer.kill()
        self.outer.wait()


def check_confined(machine):
    pid = machine.show()["MainPID"]
    status = dict(line.split(":\t", 1) for line in machine.run("cat", f"/proc/{pid}/status").stdout.splitlines() if ":\t" in line)
    expect(status["Uid"].split("\t")[1] != "0" and int(status["CapEff"], 16) == 0 and status["NoNewPrivs"] == "1"
           and status["Seccomp"] == "2", f"not confined: {status}")
    health = json.loads(machine.run("jllm", "health").stdout)
    expect(health["status"] == "ok", health)


def check_drain(machine):
    """What is said while the service ends is said to its end."""
    body = '{"prompt": "the", "max_tokens": 400, "stream": true, "ignore_end": true}'
    machine.run("bash", "-ec", f"""curl -sN http://127.0.0.1:8080/v1/completions -d '{body}' >/tmp/stream & c=$!
        until [ -s /tmp/stream ]; do sleep 0.02; done; systemctl stop jllm; wait $c""")
    text = machine.run("cat", "/tmp/stream").stdout
    expect(text.rstrip().endswith("data: [DONE]") and '"finish_reason":"length"' in text, text[-400:])
    state = machine.show()
    expect(state["ActiveState"] == "inactive" and state["Result"] == "success", state)


def check_prefix(machine):
    """A system text is kept in the one folder that the service may write to, and nowhere else."""
    def start(path):
        machine.run("bash", "-ec", f"""printf 'Be brief and kind.' >/var/lib/jllm/system.txt
            sed -i 's|^JLLM_OPTIONS=.*|JLLM_OPTIONS=--system-file /var/lib/jllm/system.txt --prefix-cache {path}|' /etc/jllm/jllm.env
            systemctl restart jllm""")
        return json.loads(machine.run("jllm", "health").stdout)["prefix"]
    for source in ("computed", "file"):
        prefix = start("/var/cache/jllm/prefix")
        expect(prefix["source"] == source and prefix["refusal"] is None and prefix["not_written"] is None, prefix)
    prefix = start("/var/lib/jllm/prefix")
    expect("Read-only file system" in str(prefix["not_written"]), prefix)


def check_failures(machine):
    drop_in = "[Service]\\nRestartSec=100ms\\nWatchdogSec=3\\n"  # what takes minutes otherwise
    machine.run("bash", "-ec", f"""mkdir -p /etc/systemd/system/jllm.service.d
        printf '{drop_in}' >/etc/systemd/system/jllm.service.d/test.conf
        systemctl daemon-reload
        systemctl start jllm""")
    machine.run("kill", "-9", machine.show()["MainPID"])
    wait_until(lambda: machine.restarted(1), 20, "started again after SIGKILL")
    machine.run("kill", "-STOP", machine.show()["MainPID"])
    wait_until(lambda: machine.restarted(2), 30, "killed by the watchdog and started again")
    plan = "/var/lib/jllm/model.jllm"
    machine.run("bash", "-ec", f"systemctl stop jllm; head -c 100000 {plan} >{plan}.cut; mv {plan}.cut {plan}")
    expect(machine.run("systemctl", "start", "jllm", check=False).returncode != 0, "a damaged plan was taken")
    time.sleep(1)  # ten times what a restart would wait
    state = machine.show()
    expect(state["ActiveState"] == "failed" and state["ExecMainStatus"] == "4" and state["NRestarts"] == "0", state)
    expect("is the copy complete?" in machine.run("journalctl", "-u", "jllm", "--no-pager").stdout, "the journal does not say why")
    machine.run("jllm", "install", "/srv/jllm/plan.jllm", "--to", plan)
    machine.run("systemctl", "start", "jllm")
    check_confined(machine)


def main():
    repository, jllm, plan = (os.path.realpath(path) for path in sys.argv[1:])
    for tool in ("/lib/systemd/systemd", "unshare", "nsenter", "ip", "curl"):
        if not shutil.which(tool):
            skip(f"{tool} is not here")
    if "\n  serve " not in subprocess.run([jllm, "--help"], capture_output=True, text=True, check=True).stdout:
        skip("jllm was built without `serve`")
    if os.geteuid() != 0:
        skip("needs root's rights, for namespaces")
    if os.path.isdir("/run/systemd/system"):
        skip("a systemd runs this machine already")
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(folder, [repository, jllm, plan])
        try:
            try:
                wait_until(machine.booted, 30, "systemd")
            except AssertionError:
                skip("no systemd can be booted in namespaces here: it did not come up")
            if machine.outer.poll() is not None:
                skip(f"no systemd can be booted in namespaces here: {machine.outer.stderr.read().strip()}")
            machine.run("bash", "/srv/jllm/tools/install_service.sh", "--apply", "--program", "/srv/jllm/jllm", "--plan",
                        "/srv/jllm/plan.jllm", "--start")
            check_confined(machine)
            check_drain(machine)
            check_prefix(machine)
            check_failures(machine)
            machine.run("bash", "/srv/jllm/tools/install_service.sh", "--uninstall")
            expect(machine.run("systemctl", "is-active", "jllm", check=False).stdout.strip() == "inactive", "still there")
        except Exception:
            if machine.outer.poll() is None:
                print(machine.run("journalctl", "-u", "jllm", "-n", "40", "--no-pager", check=False).stdout)
            raise
        finally:
            machine.end()
    print("the service is installed, confined, drained, keeps a prefix, is restarted after SIGKILL and a hang, stays down with a damaged plan, is updated")


if __name__ == "__main__":
    main()
