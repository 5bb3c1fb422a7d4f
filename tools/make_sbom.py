#!/usr/bin/env python3
"""Writes the bill of materials of one of the programs as CycloneDX JSON: what is in it, by what the build really read
and linked (ninja's record of headers, the link line), in the versions that those files state. A header or library that
is not in the table below is an error, so that nothing gets in unnoticed.

usage: tools/make_sbom.py BUILD_FOLDER TARGET [-o FILE.cdx.json]       e.g. tools/make_sbom.py build jllm
"""
import argparse
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import uuid

# Name: licence (SPDX), headers and libraries that are its (regular expressions), and where its version stands: a file
# beside the headers and the macros whose values make it up.
COMPONENTS = {
    "flatbuffers": ("Apache-2.0", r"/flatbuffers/", r"$^", "flatbuffers/base.h",
                    ("FLATBUFFERS_VERSION_MAJOR", "FLATBUFFERS_VERSION_MINOR", "FLATBUFFERS_VERSION_REVISION")),
    "nlohmann-json": ("MIT", r"/nlohmann/", r"$^", "nlohmann/detail/abi_macros.hpp",
                      ("NLOHMANN_JSON_VERSION_MAJOR", "NLOHMANN_JSON_VERSION_MINOR", "NLOHMANN_JSON_VERSION_PATCH")),
    "cpp-httplib": ("MIT", r"/httplib\.h$", r"$^", "httplib.h", ("CPPHTTPLIB_VERSION",)),
    "pcre2": ("BSD-3-Clause", r"/pcre2\.h$", r"pcre2-8", "pcre2.h", ("PCRE2_MAJOR", "PCRE2_MINOR")),
    "libsodium": ("ISC", r"/sodium(\.h$|/)", r"sodium", "sodium/version.h", ("SODIUM_VERSION_STRING",)),
    "llvm": ("Apache-2.0 WITH LLVM-exception", r"/llvm(-c)?/", r"LLVM\w*", "llvm/Config/llvm-config.h",
             ("LLVM_VERSION_STRING",)),
    "zlib": ("Zlib", r"/(zlib|zconf)\.h$", r"z", "zlib.h", ("ZLIB_VERSION",)),
    "zstd": ("BSD-3-Clause", r"/zstd\w*\.h$", r"zstd", "zstd.h",
             ("ZSTD_VERSION_MAJOR", "ZSTD_VERSION_MINOR", "ZSTD_VERSION_RELEASE")),
    "z3": ("MIT", r"/z3\w*\.h$", r"z3", "z3_version.h", ("Z3_FULL_VERSION",)),
    "libxml2": ("MIT", r"/libxml2?/", r"xml2", "libxml/xmlversion.h", ("LIBXML_DOTTED_VERSION",)),
    "ncurses": ("X11", r"/(ncurses|term)\w*\.h$", r"tinfo|ncurses", "curses.h", ("NCURSES_VERSION",)),
    "libstdc++": ("GPL-3.0-or-later WITH GCC-exception-3.1", r"/include/([\w-]+-linux-gnu/)?c\+\+/|/lib/gcc(-cross)?/", r"stdc\+\+|gcc\w*",
                  "", ()),
    # Whatever else lies in the C library's folders: named, so that nothing foreign passes for it.
    "glibc": ("LGPL-2.1-or-later", r"/include/([\w-]+-linux-gnu/)?(bits|sys|gnu|asm|asm-generic|linux|net|netinet|arpa|rpc)/|"
              r"/include/([\w-]+-linux-gnu/)?(alloca|assert|byteswap|ctype|dirent|dlfcn|elf|endian|errno|fcntl|features|"
              r"features-time64|fenv|float|ifaddrs|inttypes|langinfo|libgen|libintl|limits|link|locale|malloc|math|memory|"
              r"mntent|netdb|nl_types|poll|pthread|pwd|regex|resolv|sched|search|semaphore|setjmp|signal|spawn|stdc-predef|stdint|"
              r"stdio|stdlib|string|strings|syscall|sysexits|termios|time|ucontext|unistd|utime|utmp|wchar|wctype|xlocale)"
              r"\.h$", r"c|m|dl|rt|pthread|ld-linux\S*|c_nonshared", "features.h", ("__GLIBC__", "__GLIBC_MINOR__")),
}
# Loaded while running, where they are there; never part of what is shipped.
LOADED = {"jllm": [("cuda-driver", "libcuda.so.1, to run plans for CUDA"),
                   ("libedit", "libedit.so.2, to edit lines in jllm chat")],
          "jllmc": [("cuda-driver", "libcuda.so.1, for jllmc tune"),
                    ("nvrtc", "libnvrtc.so, to compile kernels"),
                    ("jinja2", "python3's, to prove chat templates")]}


def fail(text):
    sys.exit(f"make_sbom.py: {text}")


def ninja(build, *words):
    result = subprocess.run(["ninja", "-C", build, "-t", *words], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        fail(f"ninja -t {' '.join(words)}: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout.splitlines()


def headers_by_object(build):
    """Object file to the files that it was made of, from ninja's record."""
    record, name = {}, None
    for line in ninja(build, "deps"):
        if line and not line.startswith(" ") and ": #deps" in line:
            name = line.split(": #deps")[0]
            record[name] = []
        elif line.startswith("    ") and name:
            record[name].append(os.path.normpath(os.path.join(build, line.strip())))
    return record


def component_of(path, column):
    for name, row in COMPONENTS.items():
        if column == "header" and re.search(row[1], path):
            return name
        if column == "library" and re.fullmatch(row[2], path):
            return name
    return None


def library_name(word):
    """libNAME.a, libNAME.so.6 or -lNAME: NAME; None: no library."""
    match = re.fullmatch(r"-l(?::lib)?(.+?)(?:\.a)?", word) or re.fullmatch(r"(?:.*/)?lib([^/]+?)\.(?:a|so[.\d]*)", word)
    return match[1] if match else None


def macro(text, name):
    match = re.search(rf'^\s*#\s*define\s+{name}\s+"?([^"\s]+)"?', text, re.M)
    return match[1] if match else None


def version_of(name, headers, library, compiler):
    """As the component's own header says it, or the compiler for its run-time library; None: it cannot be told."""
    if name == "libstdc++":
        return subprocess.run([compiler, "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
    _, pattern, _, place, macros = COMPONENTS[name]
    folders = sorted({header[:match.start()] + "/" for header in headers if (match := re.search(pattern, header))})
    candidates = [header for header in headers if header.endswith("/" + place)]
    candidates += [os.path.join(folder, place) for folder in folders] + [header for header in headers]
    for candidate in candidates:
        if not os.path.isfile(candidate):
            continue
        with open(candidate, encoding="utf-8", errors="replace") as file:
            text = file.read()
        parts = [macro(text, name) for name in macros]
        if all(parts):
            return ".".join(parts)
    # Linked for another library's sake: the file's own name tells.
    match = re.search(r"\.so\.([\d.]+)$", os.path.realpath(library)) if library else None
    return match[1] if match else None


def source_folder(build):
    try:
        with open(os.path.join(build, "CMakeCache.txt"), encoding="utf-8") as file:
            return re.search(r"^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$", file.read(), re.M)[1]
    except OSError as error:
        fail(f"{build} is no build folder: {error.strerror}")


def collect(build, target):
    """Component to {headers, linkage}, and the compiler that made them."""
    repo = source_folder(build)
    commands = ninja(build, "commands", target)
    if not commands:
        fail(f"{target} is no target of {build}")
    objects = {os.path.normpath(words[words.index("-o") + 1]) for words in map(shlex.split, commands)
               if "-c" in words and "-o" in words}
    compilers = {words[i] for words in map(shlex.split, commands) if "-c" in words
                 for i, word in enumerate(words[:2]) if re.search(r"(\+\+|clang|gcc|cc)[-\d.]*$", word) and "ccache" not in word}
    record = headers_by_object(build)
    found, unknown = {}, set()
    missing = [name for name in objects if name not in record]
    if missing:
        fail(f"{build} does not know what {missing[0]} was made of: build {target} first")
    for name in objects:
        for path in record[name]:
            # What lies in the tree is the project's own, but for what setup unpacked there.
            own = path.startswith(os.path.abspath(build) + "/") or (
                path.startswith(repo + "/") and not path.startswith(repo + "/.deps/"))
            if own:
                continue
            component = component_of(path, "header")
            if component is None:
                unknown.add(path)
            else:
                found.setdefault(component, {"headers": set(), "linkage": "headers"})["headers"].add(path)
    for word in shlex.split(commands[-1]):
        name = library_name(word)
        if name is None or os.path.exists(os.path.join(build, word)) and not os.path.isabs(word):
            continue
        component = component_of(name, "library")
        if component is None:
            unknown.add(word)
            continue
        entry = found.setdefault(component, {"headers": set(), "linkage": "headers"})
        entry["linkage"] = "static" if word.endswith(".a") else "dynamic"
        entry["library"] = word
    if "-static-libstdc++" in commands[-1] and "libstdc++" in found:
        found["libstdc++"]["linkage"] = "static"
    if "glibc" in found:
        found["glibc"]["linkage"] = "dynamic"
    if unknown:
        fail(f"{target} is made of what no component in COMPONENTS claims:\n  " + "\n  ".join(sorted(unknown)))
    return found, sorted(compilers)[0] if compilers else "c++"


def licence(text):
    return {"expression": text} if " WITH " in text else {"license": {"id": text}}


def document(build, target, program):
    found, compiler = collect(build, target)
    with open(os.path.join(build, "generated", "jllm_version.h"), encoding="utf-8") as file:
        version = macro(file.read(), "JLLM_VERSION")
    try:
        with open(program, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        fail(f"{program}: {error.strerror}; build {target} first")
    components = []
    for name in sorted(found):
        known = version_of(name, sorted(found[name]["headers"]), found[name].get("library"), compiler)
        purl = f"pkg:generic/{name.replace('+', '%2B')}" + (f"@{known}" if known else "")
        component = {"type": "library", "bom-ref": purl, "name": name}
        if known:
            component["version"] = known
        component.update({"purl": purl, "scope": "required", "licenses": [licence(COMPONENTS[name][0])],
                          "properties": [{"name": "jllm:linkage", "value": found[name]["linkage"]}]})
        components.append(component)
    for name, what in LOADED.get(target, []):
        components.append({"type": "library", "bom-ref": f"pkg:generic/{name}", "name": name, "description": what,
                           "purl": f"pkg:generic/{name}", "scope": "optional",
                           "properties": [{"name": "jllm:linkage", "value": "loaded"}]})
    own = f"pkg:generic/{target}@{version}"
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": own, "name": target, "version": version, "purl": own,
                                   "hashes": [{"alg": "SHA-256", "content": digest}],
                                   "licenses": [licence("Apache-2.0")]}},
        "components": components,
        "dependencies": [{"ref": own, "dependsOn": [c["bom-ref"] for c in components]}] +
                        [{"ref": c["bom-ref"], "dependsOn": []} for c in components],
    }
    # Equal contents, equal number: no clock and no chance.
    bom["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bom, sort_keys=True)).urn
    return bom


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("target")
    parser.add_argument("--program", help="what is shipped of it, whose SHA-256 goes in (default: BUILD_FOLDER/bin/TARGET)")
    parser.add_argument("-o", "--output", help="default: standard output")
    arguments = parser.parse_args()
    build = os.path.abspath(arguments.build)
    program = arguments.program or os.path.join(build, "bin", arguments.target)
    text = json.dumps(document(build, arguments.target, program), indent=2) + "\n"
    if arguments.output is None:
        sys.stdout.write(text)
        return
    with open(arguments.output, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
