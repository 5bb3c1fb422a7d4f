#!/usr/bin/env python3
"""cpack's Debian packages: names, files, dependencies; unpacked into an empty root, the programs run from there and
a program is built against what was unpacked."""
import glob
import os
import re
import shutil
import sys
import tempfile

from common import ANSWER, PROMPT, environment, expect, options, run


def fields(package):
    return dict(line.split(": ", 1) for line in run("dpkg-deb", "--field", package).splitlines() if ": " in line)


def check_dependencies(device, dev, workstation):
    version = device["Version"]
    expect(device["Package"] == "jllm" and dev["Package"] == "jllm-dev" and workstation["Package"] == "jllmc", "names")
    expect(re.search(r"\blibc6\b", device.get("Depends", "")), f"jllm needs the C library: {device.get('Depends')}")
    for name in ("cuda", "stdc++", "pcre", "llvm", "jllm"):
        expect(name not in device["Depends"].lower(), f"jllm depends on {name}: {device['Depends']}")
    for package in (dev, workstation):
        expect(f"jllm (= {version})" in package["Depends"], f"{package['Package']}: {package['Depends']}")
    expect("llvm" not in workstation["Depends"].lower(), workstation["Depends"])
    expect("python3-jinja2" in workstation["Recommends"], "jllmc reads chat templates with jinja2")


def check_files(packages, root):
    def holds(package, *patterns):
        files = run("dpkg-deb", "--contents", packages[package])
        for pattern in patterns:
            expect(re.search(pattern + r"( ->.*)?$", files, re.MULTILINE), f"{package} lacks {pattern}:\n{files}")
        for line in files.splitlines():
            expect(" root/root " in line, f"{package}: not root's: {line}")
            expect(line.split()[5].startswith(("./usr/", "./")), line)
        return files

    files = holds("jllm", r"/usr/bin/jllm", r"/usr/lib/.*libjllm_executor\.so\.0", r"/usr/lib/.*libjllm_text\.so\.0")
    expect(not re.search(r"\.h$|\.a$|\.cmake$|jllmc$", files, re.MULTILINE), f"the device's package: {files}")
    holds("jllm-dev", r"/usr/include/jllm/jllm\.h", r"/usr/include/jllm/executor\.h", r"libjllm_executor\.so",
          r"libjllm_executor\.a", r"jllmConfig\.cmake", r"jllm-text\.pc")
    holds("jllmc", r"/usr/bin/jllmc", r"get_nvrtc\.sh")
    for package in packages.values():
        run("dpkg-deb", "--extract", package, root)
    for path, _, names in os.walk(root):
        for name in names:
            file = os.path.join(path, name)
            expect(os.path.exists(file), f"{file} leads nowhere")


def check_service(package, root, jllm):
    """The service is there where jllm can serve, and its installer takes the package's unit."""
    installer = os.path.join(root, "usr/share/jllm/install_service.sh")
    serves = re.search(r"^  serve ", run(jllm, "--help"), re.MULTILINE) is not None
    expect(os.path.exists(installer) == serves, f"jllm serves: {serves}, but {installer}")
    if not serves:
        return
    for file in ("lib/systemd/system/jllm.service", "lib/sysusers.d/jllm.conf", "share/jllm/jllm.env",
                 "share/doc/jllm/operation.md"):
        expect(os.path.exists(os.path.join(root, "usr", file)), f"the package lacks {file}")
    for script in ("postinst", "prerm"):
        expect("systemctl" in run("dpkg-deb", "--info", package, script), script)
    text = run("bash", installer, env=environment(JLLM_ROOT=root))
    expect("the unit is the package's" in text and "/etc/jllm/jllm.env" in text, text)


def main():
    o = options()
    for tool in ("dpkg-deb", "cpack", "dpkg-shlibdeps"):
        if not shutil.which(tool):
            print(f"SKIPPED: {tool} is not here")
            sys.exit(0)
    with tempfile.TemporaryDirectory() as folder:
        run("cpack", "-G", "DEB", "-B", folder, cwd=o.build)
        packages = {fields(path)["Package"]: path for path in glob.glob(os.path.join(folder, "*.deb"))}
        expect(sorted(packages) == ["jllm", "jllm-dev", "jllmc"], f"packages: {sorted(packages)}")
        check_dependencies(*(fields(packages[name]) for name in ("jllm", "jllm-dev", "jllmc")))
        root = os.path.join(folder, "root")
        os.mkdir(root)
        check_files(packages, root)

        # From GGUF to text by what was unpacked.
        jllm, jllmc = (os.path.join(root, "usr", "bin", name) for name in ("jllm", "jllmc"))
        check_service(packages["jllm"], root, jllm)
        plan = os.path.join(folder, "plan.jllm")
        run(jllmc, "compile", os.path.join(o.source, "examples/models/tiny-workshop-5m.q4_k_m.gguf"), "--target",
            "host", "-o", plan)
        text = run(jllm, "run", plan, "-t", "0", "-n", "24", "-p", PROMPT)
        expect(ANSWER in text, text)
        libraries = os.path.dirname(glob.glob(os.path.join(root, "usr/lib", "**", "libjllm_text.so"),
                                              recursive=True)[0])
        program = os.path.join(folder, "embed_c")
        run(o.cc, "-std=c11", os.path.join(o.source, "examples/embed_c/main.c"), "-I",
            os.path.join(root, "usr/include"), "-L", libraries, "-ljllm_text", "-ljllm_executor", "-o", program)
        text = run(program, plan, PROMPT, 24, env=environment(LD_LIBRARY_PATH=libraries))
        expect(text.startswith(ANSWER), text)
        for name, path in sorted(packages.items()):
            print(f"{name}: {os.path.getsize(path)} bytes, {fields(path).get('Depends')}")
    print("ok")


main()
