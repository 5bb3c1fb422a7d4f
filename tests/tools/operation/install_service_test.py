"""tools/install_service.sh on made-up systems, and the unit by systemd's own judgement."""
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

REPOSITORY = sys.argv.pop(1)
SCRIPT = os.path.join(REPOSITORY, "tools/install_service.sh")
SYSTEMD = os.path.join(REPOSITORY, "packaging/systemd")
UNIT, SETTINGS = "etc/systemd/system/jllm.service", "etc/jllm/jllm.env"
DEVICES = "etc/systemd/system/jllm.service.d/devices.conf"


class Machine(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root, self.programs = os.path.join(folder.name, "root"), os.path.join(folder.name, "bin")
        os.makedirs(self.programs)
        os.makedirs(self.root)
        self.calls = os.path.join(folder.name, "calls")
        for name in ("systemctl", "systemd-sysusers"):
            self.program(os.path.join(self.programs, name), f'echo "{name} $*" >>"{self.calls}"')
        self.jllm = os.path.join(folder.name, "jllm")
        self.program(self.jllm, 'case "$1" in serve) ;; install) mkdir -p "${4%/*}"; cp "$2" "$4" ;; *) exit 2 ;; esac')

    @staticmethod
    def program(path, does):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\n{does}\n")
        os.chmod(path, 0o755)

    def put(self, path, text=""):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    def get(self, path):
        with open(os.path.join(self.root, path), encoding="ascii") as file:
            return file.read()

    def files(self):
        return sorted(os.path.relpath(os.path.join(folder, name), self.root)
                      for folder, _, names in os.walk(self.root) for name in names)

    def called(self):
        if not os.path.exists(self.calls):
            return []
        with open(self.calls, encoding="ascii") as file:
            return file.read().splitlines()

    def install(self, *arguments, status=0, script=SCRIPT, image=True):
        """Into the made-up system, whose systemd does not run: none is asked to start or to read anything."""
        environment = {**os.environ, "JLLM_ROOT": self.root, "PATH": f"{self.programs}:{os.environ['PATH']}"}
        if not image:
            del environment["JLLM_ROOT"]
        done = subprocess.run(["bash", script, *arguments], capture_output=True, text=True, check=False, timeout=60,
                              env=environment)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_a_dry_run_changes_nothing(self):
        self.put("dev/nvmap")
        text = self.install("--program", self.jllm, "--start")
        for words in ("Nothing is changed", UNIT, SETTINGS, DEVICES, f"systemctl --root={self.root} enable jllm.service"):
            self.assertIn(words, text)
        self.assertEqual(self.files(), ["dev/nvmap"])
        self.assertEqual(self.called(), [])

    def test_from_a_clone(self):
        for node in ("nvmap", "nvhost-gpu", "nvhost-ctrl-gpu", "nvgpu/igpu0/ctrl", "dri/renderD128", "sda"):
            self.put(f"dev/{node}")
        plan = self.put("../new.jllm", "a plan")
        self.install("--apply", "--program", self.jllm, "--plan", plan, "--start")
        with open(os.path.join(SYSTEMD, "jllm.service"), encoding="ascii") as file:
            self.assertEqual(self.get(UNIT), file.read())
        self.assertEqual(self.get("var/lib/jllm/model.jllm"), "a plan")
        self.assertEqual(sorted(self.get(DEVICES).splitlines()[2:]), [
            f"DeviceAllow=/dev/{node} rw" for node in
            ("dri/renderD128", "nvgpu/igpu0/ctrl", "nvhost-ctrl-gpu", "nvhost-gpu", "nvmap")])
        self.assertEqual(self.get(DEVICES).splitlines()[1], "[Service]")
        mode = stat.S_IMODE(os.stat(os.path.join(self.root, SETTINGS)).st_mode)
        self.assertEqual(mode, 0o600)  # there may be a key in it
        self.assertEqual(self.called(), [f"systemd-sysusers --root={self.root}",
                                         f"systemctl --root={self.root} enable jllm.service"])

    def test_what_this_machines_systemd_would_be_asked(self):
        """Without a root nothing may be applied here: the dry run says it."""
        text = self.install("--start", image=False)
        asked = [line.strip() for line in text.splitlines() if line.strip().startswith("system")]
        self.assertEqual(asked, ["systemd-sysusers", "systemctl daemon-reload", "systemctl enable jllm.service",
                                 "systemctl restart jllm.service"])
        self.assertEqual(self.called(), [])

    def test_settings_stay(self):
        self.put(SETTINGS, "mine")
        self.install("--apply", "--program", self.jllm)
        self.assertEqual(self.get(SETTINGS), "mine")
        text = self.install("--uninstall")
        self.assertEqual(self.get(SETTINGS), "mine")
        self.assertIn(f"systemctl --root={self.root} disable jllm.service", self.called())
        self.assertEqual(self.files(), [SETTINGS, "usr/bin/jllm"])
        self.assertIn("left:", text)

    def test_beside_a_package(self):
        """As it lies in /usr/share/jllm: the package's unit is taken, its settings are the pattern."""
        self.put("usr/lib/systemd/system/jllm.service", "the package's")
        self.program(os.path.join(self.root, "usr/bin/jllm"), "exit 0")
        script = os.path.join(self.root, "usr/share/jllm/install_service.sh")
        os.makedirs(os.path.dirname(script))
        shutil.copy(SCRIPT, script)
        shutil.copy(os.path.join(SYSTEMD, "jllm.env"), os.path.dirname(script))
        self.install("--apply", script=script)
        self.assertFalse(os.path.exists(os.path.join(self.root, UNIT)))
        self.assertIn("JLLM_PLAN=", self.get(SETTINGS))
        self.install("--uninstall", script=script)
        self.assertEqual(self.get("usr/lib/systemd/system/jllm.service"), "the package's")

    def test_refuses(self):
        self.assertIn("--program build/bin/jllm", self.install("--apply", status=1))
        self.program(self.jllm, "exit 1")
        self.assertIn("cannot be run here", self.install("--apply", "--program", self.jllm, status=1))
        self.program(self.jllm, '[ "$1" = --help ]')
        self.assertIn("no `serve`", self.install("--apply", "--program", self.jllm, status=1))
        self.assertIn("usage", self.install("--now", status=2))


class Unit(unittest.TestCase):
    def setUp(self):
        with open(os.path.join(SYSTEMD, "jllm.service"), encoding="ascii") as file:
            self.unit = file.read()

    def test_settings_and_unit_agree(self):
        with open(os.path.join(SYSTEMD, "jllm.env"), encoding="ascii") as file:
            settings = file.read()
        for name in set(re.findall(r"\$\{?(JLLM_\w+)", self.unit)):
            self.assertRegex(settings, rf"(?m)^{name}=")
        drain = float(re.search(r"--drain-timeout (\d+)", settings).group(1))
        stop = float(re.search(r"TimeoutStopSec=(\d+)", self.unit).group(1))
        self.assertGreaterEqual(stop, drain + 10)

    def test_the_soak_test_runs_the_server_as_the_unit_does(self):
        with open(os.path.join(REPOSITORY, "tools/soak/main.py"), encoding="ascii") as file:
            tunables = re.search(r'^GLIBC_TUNABLES = "(.*)"$', file.read(), re.MULTILINE).group(1)
        self.assertIn(f"\nEnvironment=GLIBC_TUNABLES={tunables}\n", self.unit)

    def test_systemd_finds_nothing_wrong(self):
        analyze = shutil.which("systemd-analyze")
        if not analyze:
            self.skipTest("systemd-analyze is not here")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "jllm.service")
            with open(path, "w", encoding="ascii") as file:
                # Neither the program nor the documentation is installed where this runs.
                file.write(self.unit.replace("/usr/bin/jllm", "/bin/true").replace("Documentation=", "#"))
            done = subprocess.run([analyze, "verify", "--man=no", path], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
            done = subprocess.run([analyze, "security", "--offline=yes", "--threshold=25", path], capture_output=True,
                                  text=True, check=False)
            if "unrecognized option" in done.stderr:
                self.skipTest("this systemd-analyze cannot judge a file")
            # 10 is a unit without any of it; 2.5 leaves room for another release's view of the same lines.
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
