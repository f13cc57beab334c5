#!/usr/bin/env python3
"""Compiles every public header alone, with only include/ on the path and warnings as errors.

A header is compiled again only when it, or a header of ours that it includes, has changed.

usage: tools/lint/check_headers.py [--all]
"""
import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "include"
CACHE = ROOT / ".cache" / "check_headers.json"
FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]


def included(header, seen):
    """The header and all of ours that it includes, directly or not."""
    if header in seen or not (INCLUDE / header).is_file():
        return seen
    seen.add(header)
    for name in re.findall(r"#\s*include\s*<(oncemark/[^>]+)>", (INCLUDE / header).read_text(encoding="utf-8")):
        included(name, seen)
    return seen


def fingerprint(header):
    digest = hashlib.sha256(" ".join([compiler(), *FLAGS]).encode())
    for name in sorted(included(header, set())):
        digest.update((INCLUDE / name).read_bytes())
    return digest.hexdigest()


def compiler():
    return os.environ.get("CXX", "g++")


def compile_alone(header):
    """Twice in one file: it must also survive a second include. Returns what the compiler said."""
    source = f"#include <{header}>\n" * 2
    done = subprocess.run([compiler(), *FLAGS, f"-I{INCLUDE}", "-x", "c++", "-"], input=source, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode == 0:
        return ""
    return f"{header} does not compile alone:\n{done.stdout}"


def read_cache():
    try:
        return json.loads(CACHE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def main():
    headers = sorted(path.relative_to(INCLUDE).as_posix() for path in INCLUDE.rglob("*.hpp"))
    known = {} if "--all" in sys.argv[1:] else read_cache()
    prints = {header: fingerprint(header) for header in headers}
    stale = [header for header in headers if known.get(header) != prints[header]]

    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        failures = {header: text for header, text in zip(stale, pool.map(compile_alone, stale)) if text}
    CACHE.parent.mkdir(exist_ok=True)
    CACHE.write_text(json.dumps({h: p for h, p in prints.items() if h not in failures}, indent=1), encoding="utf-8")

    if failures:
        print("\n".join(failures.values()))
        return 1
    print(f"check_headers: {len(headers)} public headers compile alone ({len(stale)} compiled now)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
