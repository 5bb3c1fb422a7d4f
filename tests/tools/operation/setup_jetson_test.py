"""tools/setup_jetson.sh on made-up systems: files in a folder, and programs that write down how they were called."""
import os
import subprocess
import sys
import tempfile
import unittest

SCRIPT = os.path.join(sys.argv.pop(1), "tools/setup_jetson.sh")

NVPMODEL_CONF = """< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< PM_CONFIG DEFAULT=1 >
"""
# The programs keep their state in files of the made-up system.
PROGRAMS = {
    "nvpmodel": 'read -r answer; [ "$answer" = no ] || exit 9\n'
                'if [ -f "$JLLM_ROOT/needs_reboot" ]; then echo "reboot?"; exit 1; fi\n'
                'printf "pmode:%04d fmode:fanNull\\n" "$2" >"$JLLM_ROOT/var/lib/nvpmodel/status"\n',
    "jetson_clocks": 'case "$1" in --store) echo stored >"$2";; --restore) cat "$2" >/dev/null;; esac\n',
    "systemctl": 'case "$1" in\n'
                 'get-default) cat "$JLLM_ROOT/default";;\n'
                 'set-default) echo "$2" >"$JLLM_ROOT/default";;\n'
                 'is-enabled) cat "$JLLM_ROOT/zram"; grep -q enabled "$JLLM_ROOT/zram";;\n'
                 'enable|disable) echo "${1}d" >"$JLLM_ROOT/zram";;\n'
                 'esac\n',
}
ALL = ("power-mode=25W", "clocks", "headless", "no-zram", "drop-caches")
DROP_IN = "etc/systemd/system/jllm.service.d/drop-caches.conf"


class Jetson(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root, self.programs = os.path.join(folder.name, "root"), os.path.join(folder.name, "bin")
        self.put("etc/nvpmodel.conf", NVPMODEL_CONF)
        self.put("var/lib/nvpmodel/status", "pmode:0000 fmode:fanNull\n")
        self.put("proc/device-tree/model", "NVIDIA Jetson Orin Nano Super\0")
        self.put("default", "graphical.target\n")
        self.put("zram", "enabled\n")
        self.put("calls", "")
        self.is_release("36", "4.7")
        os.mkdir(self.programs)
        for name, does in PROGRAMS.items():
            path = os.path.join(self.programs, name)
            with open(path, "w", encoding="ascii") as file:
                file.write(f'#!/bin/sh\necho "{name} $*" >>"$JLLM_ROOT/calls"\n{does}')
            os.chmod(path, 0o755)

    def put(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)

    def get(self, path):
        with open(os.path.join(self.root, path), encoding="ascii") as file:
            return file.read()

    def has(self, path):
        return os.path.exists(os.path.join(self.root, path))

    def is_release(self, major, revision):
        self.put("etc/nv_tegra_release", f"# R{major} (release), REVISION: {revision}, GCID: 1, BOARD: generic\n")

    def tree(self):
        """Every file and what is in it, but the list of calls."""
        return {os.path.relpath(os.path.join(folder, name), self.root): self.get(os.path.join(folder, name))
                for folder, _, names in os.walk(self.root) for name in names if name != "calls"}

    def run_script(self, *arguments, status=0):
        done = subprocess.run(["bash", SCRIPT, *arguments], capture_output=True, text=True, check=False, timeout=60,
                              env={**os.environ, "JLLM_ROOT": self.root, "PATH": f"{self.programs}:{os.environ['PATH']}"})
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def changes(self):
        """Calls that change the system."""
        return [line for line in self.get("calls").splitlines()
                if not line.startswith(("systemctl get-default", "systemctl is-enabled"))]

    def test_shows_all_and_changes_nothing(self):
        before = self.tree()
        text = self.run_script()
        for words in ("Orin Nano Super, L4T 36.4.7", "power-mode=NAME", "15W (of: 15W 25W MAXN_SUPER)", "headless",
                      "graphical.target", "36.4.7 refuses allocations", "Nothing is changed"):
            self.assertIn(words, text)
        for step in text.split("\n\n")[1:6]:
            self.assertIn("    why ", step)
            self.assertIn("    risk ", step)
        self.assertEqual(self.tree(), before)
        self.assertEqual(self.changes(), [])

    def test_apply_all_and_back(self):
        before = self.tree()
        self.run_script("--apply", *ALL)
        self.assertEqual(self.changes(), [
            "nvpmodel -m 1", f"jetson_clocks --store {self.root}/var/lib/jllm/clocks.conf", "jetson_clocks ",
            "systemctl set-default multi-user.target", "systemctl disable nvzramconfig", "systemctl daemon-reload"])
        self.assertEqual(self.get("var/lib/nvpmodel/status")[:10], "pmode:0001")
        self.assertIn("ExecStartPre=+/bin/sh", self.get(DROP_IN))
        self.assertIn("done by this script; before: graphical.target", self.run_script())

        self.put("calls", "")
        self.run_script("--revert")
        self.assertEqual(self.changes(), [
            "systemctl daemon-reload", "systemctl enable nvzramconfig", "systemctl set-default graphical.target",
            f"jetson_clocks --restore {self.root}/var/lib/jllm/clocks.conf", "nvpmodel -m 0"])
        self.assertEqual(self.tree(), before)
        self.assertIn("nothing to undo", self.run_script("--revert"))

    def test_twice_keeps_what_was_before(self):
        self.run_script("--apply", "power-mode=25W", "headless")
        self.run_script("--apply", "power-mode=MAXN_SUPER", "headless")
        self.assertEqual(self.get("var/lib/nvpmodel/status")[:10], "pmode:0002")
        self.run_script("--revert")
        self.assertEqual(self.get("var/lib/nvpmodel/status")[:10], "pmode:0000")
        self.assertEqual(self.get("default"), "graphical.target\n")

    def test_only_what_is_named(self):
        self.run_script("--apply", "headless", "no-zram")
        self.assertEqual(len(self.changes()), 2)
        self.run_script("--revert", "headless")
        self.assertEqual(self.get("default"), "graphical.target\n")
        self.assertEqual(self.get("zram"), "disabled\n")
        self.assertEqual(self.get("var/lib/jllm/setup_jetson.record"), "no-zram enabled\n")

    def test_what_is_so_already_is_not_undone(self):
        self.put("default", "multi-user.target\n")
        self.put("zram", "disabled\n")
        self.run_script("--apply", "power-mode=15W", "headless", "no-zram")
        self.assertEqual(self.changes(), [])
        self.assertFalse(self.has("var/lib/jllm/setup_jetson.record"))

    def test_a_mode_that_needs_a_reboot_is_not_claimed(self):
        self.put("needs_reboot", "")
        self.assertIn("sudo nvpmodel -m 2", self.run_script("--apply", "power-mode=MAXN_SUPER"))
        self.assertEqual(self.get("var/lib/nvpmodel/status")[:10], "pmode:0000")

    def test_caches_are_dropped_only_where_that_helps(self):
        for major, revision, helps in (("35", "6.3", True), ("35", "6.4", False), ("36", "4.4", False), ("36", "5.0", False),
                                       ("38", "2.2", True), ("38", "4.0", True), ("39", "2.0", False)):
            self.is_release(major, revision)
            self.run_script("--apply", "drop-caches")
            self.assertEqual(self.has(DROP_IN), helps, f"{major}.{revision}")
            self.run_script("--revert")
            self.assertFalse(self.has(DROP_IN))

    def test_refuses(self):
        self.assertIn("15W 25W MAXN_SUPER", self.run_script("--apply", "power-mode=9W", status=1))
        self.assertIn("needs steps by name", self.run_script("--apply", status=1))
        self.assertIn("say which", self.run_script("--apply", "power-mode", status=1))
        self.assertIn("usage", self.run_script("--apply", "everything", status=2))
        os.remove(os.path.join(self.root, "etc/nv_tegra_release"))
        self.assertIn("no Jetson", self.run_script(status=1))
        self.assertEqual(self.changes(), [])


if __name__ == "__main__":
    unittest.main()
