#!/usr/bin/env python3
"""The bills of materials of both programs: well-formed CycloneDX, complete, the same each time; and a library that the
table does not know is an error. usage: sbom_test.py BUILD_FOLDER"""
import hashlib
import importlib.util
import os
import re
import sys
import unittest

REPO = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BUILD = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else os.path.join(REPO, "build")


def load():
    spec = importlib.util.spec_from_file_location("make_sbom", os.path.join(REPO, "tools", "make_sbom.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def document(target, module=None):
    return (module or load()).document(BUILD, target, os.path.join(BUILD, "bin", target))


class Sbom(unittest.TestCase):
    def check(self, target, expected):
        bom = document(target)
        self.assertEqual((bom["bomFormat"], bom["specVersion"], bom["version"]), ("CycloneDX", "1.5", 1))
        self.assertRegex(bom["serialNumber"], r"^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        program = bom["metadata"]["component"]
        self.assertEqual((program["type"], program["name"]), ("application", target))
        with open(os.path.join(BUILD, "bin", target), "rb") as file:
            self.assertEqual(program["hashes"], [{"alg": "SHA-256", "content": hashlib.sha256(file.read()).hexdigest()}])
        refs = [program["bom-ref"]] + [component["bom-ref"] for component in bom["components"]]
        self.assertEqual(len(refs), len(set(refs)))
        for component in bom["components"]:
            self.assertEqual(component["type"], "library")
            self.assertRegex(component["purl"], r"^pkg:generic/[\w%.-]+(@[\w.+-]+)?$")
            if component["scope"] == "optional":
                continue
            self.assertEqual(len(component["licenses"]), 1)
            self.assertTrue(re.match(r"\d", component.get("version", "")), component["name"])
        self.assertEqual(sorted(edge["ref"] for edge in bom["dependencies"]), sorted(refs))
        for edge in bom["dependencies"]:
            self.assertTrue(set(edge["dependsOn"]) <= set(refs))
        linkage = {c["name"]: c["properties"][0]["value"] for c in bom["components"]}
        for name, how in expected.items():
            self.assertIn(linkage.get(name), how, name)
        self.assertEqual(document(target), bom)

    def test_jllm(self):
        self.check("jllm", {"flatbuffers": ["headers"], "nlohmann-json": ["headers"], "pcre2": ["static", "dynamic"],
                            "libstdc++": ["static"], "glibc": ["dynamic"], "cuda-driver": ["loaded"], "llvm": [None]})

    def test_jllmc(self):
        if not os.path.exists(os.path.join(BUILD, "bin", "jllmc")):
            self.skipTest("there is no jllmc in this build")
        self.check("jllmc", {"llvm": ["static"], "flatbuffers": ["headers"], "nvrtc": ["loaded"]})

    def test_what_is_unknown_is_an_error(self):
        module = load()
        del module.COMPONENTS["pcre2"]
        with self.assertRaisesRegex(SystemExit, "pcre2"):
            document("jllm", module)


if __name__ == "__main__":
    if not os.path.exists(os.path.join(BUILD, "build.ninja")):
        print("SKIPPED: this is no build of ninja, whose record of headers is read")
        sys.exit(77)
    unittest.main()
