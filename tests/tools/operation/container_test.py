"""The recipe of the container, read as Docker would: no Docker is needed, and none replaced. What is copied exists, stages
and commands are what they say, and the programs' options are known to jllm."""
import json
import os
import re
import subprocess
import sys
import unittest

REPOSITORY, JLLM = sys.argv.pop(1), sys.argv.pop(1)
FOLDER = os.path.join(REPOSITORY, "packaging/container")
KNOWN = {"ARG", "FROM", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


def instructions(text):
    """[(name, the rest)], comments left out and continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines()]


def read(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        return file.read()


class Container(unittest.TestCase):
    def setUp(self):
        self.steps = instructions(read("Dockerfile.l4t"))
        self.last = [i for i, (name, _) in enumerate(self.steps) if name == "FROM"][-1]

    def of(self, name, since=0):
        return [rest for key, rest in self.steps[since:] if key == name]

    def test_instructions(self):
        self.assertEqual({name for name, _ in self.steps} - KNOWN, set())
        self.assertEqual(self.steps[0][0], "ARG")
        base = self.steps[0][1].split("=")[0]
        for stage in self.of("FROM"):
            self.assertTrue(stage.startswith("${" + base + "}"), stage)

    def test_what_is_copied_exists(self):
        stages = {match.group(1) for match in (re.search(r" AS (\w+)$", rest) for rest in self.of("FROM")) if match}
        with open(os.path.join(REPOSITORY, "tools/release.sh"), encoding="utf-8") as file:
            release = file.read()
        # What release.sh writes: programs, their bills of materials, the sums.
        made = set(re.search(r"^programs=\((.*)\)", release, re.MULTILINE).group(1).split())
        made |= {f"{name}.cdx.json" for name in made} | set(re.findall(r">(SHA256SUMS)\b", release))
        self.assertEqual(made, {"jllm", "jllm.cdx.json", "SHA256SUMS"})
        copied, ignored = set(), read("Dockerfile.l4t.dockerignore").splitlines()
        for rest in self.of("COPY"):
            words = rest.split()
            if words[0].startswith("--from="):
                self.assertIn(words[0][len("--from="):], stages)
                continue
            for source in words[:-1]:
                copied.add(source)
                if source.startswith("release/"):
                    self.assertIn(source[len("release/"):], made)
                else:
                    self.assertTrue(os.path.isfile(os.path.join(REPOSITORY, source)), source)
        self.assertEqual({line[1:] for line in ignored if line.startswith("!")}, copied)
        self.assertIn("*", ignored)

    def test_nothing_is_fetched(self):
        for script in self.of("RUN"):
            subprocess.run(["sh", "-n", "-c", script], check=True)
            for word in ("apt", "curl", "wget", "pip", "http"):
                self.assertNotIn(word, script)
        self.assertEqual(self.of("RUN", self.last), [])

    def test_what_runs(self):
        self.assertRegex(self.of("USER", self.last)[-1], r"^[1-9]\d*:[1-9]\d*$")
        entry = json.loads(self.of("ENTRYPOINT", self.last)[-1])
        command = json.loads(self.of("CMD", self.last)[-1])
        check = json.loads(self.of("HEALTHCHECK", self.last)[-1].split(" CMD ")[1])
        self.assertEqual(entry, check[:1])
        # The default of `jllm health` is where the server listens, as seen from inside.
        self.assertEqual(command[command.index("--port") + 1], self.of("EXPOSE", self.last)[-1])
        if subprocess.run([JLLM, "serve", "--help"], capture_output=True, check=False).returncode != 0:
            self.skipTest("this jllm is built without `serve`")
        for words in (command, check[1:]):
            text = subprocess.run([JLLM, words[0], "--help"], capture_output=True, text=True, check=True).stdout
            for option in (word for word in words if word.startswith("-")):
                self.assertRegex(text, rf"(?m)(^|[\s,]){option}\b")
        self.assertIn(f"http://127.0.0.1:{command[command.index('--port') + 1]}",
                      subprocess.run([JLLM, "health", "--help"], capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    unittest.main()
