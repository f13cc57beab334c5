#!/usr/bin/env python3
"""Checks every #include against the layers of oncemark, and names the offending line.

System include paths make every client header reachable from everywhere, and all parts share include/, so neither
the compiler nor CMake can show a dependency that should not be there. This table can.

usage: tools/lint/check_includes.py
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Folder: the folders it may include, and why it stops there. A folder may always include itself.
MAY_INCLUDE = {
    "core": ([], "words that every layer needs; the standard library only"),
    "message": (["core"], "the nouns that travel know neither brokers nor databases"),
    "observe": (["core"], "every layer reports here, so it can depend on none of them"),
    "mysql": (["core", "observe"], "one client library each: a database door knows nothing of messages"),
    "kafka": (["core", "message", "observe"], "one client library each"),
    "redis": (["core", "observe"], "one client library each"),
    "consume": (["core", "message", "observe"], "the runner is tested without any server"),
    "retry": (["core", "message", "observe"], "policies are arithmetic: tested without any server"),
    "outbox": (["core", "message", "observe", "mysql"], "of the broker it sees message::Sink only"),
    "ledger": (["core", "message", "observe", "mysql"], "the state row and its transitions: MySQL and nothing else"),
    "inbox": (["core", "message", "observe", "mysql", "consume", "ledger"], "a handler over the ledger; no broker"),
    "dead_letter": (["core", "message", "observe", "mysql", "consume", "retry", "outbox", "ledger"],
                    "failures go through MySQL; the relay meets the broker"),
    "transactional": (["core", "message", "observe", "mysql", "outbox", "consume"], "no broker of its own"),
    "reconcile": (["core", "message", "observe", "mysql", "outbox", "ledger", "inbox", "dead_letter"],
                  "compares tables; a repair goes out through the outbox"),
    "binlog": (["core", "message", "observe", "mysql", "outbox"],
               "a log of changes as messages: what it hands on goes to message::Sink"),
    "housekeeping": (["core", "observe", "mysql", "outbox", "ledger", "inbox", "dead_letter"], "sweeps tables"),
    "config": (["core", "message", "observe", "mysql", "kafka", "redis", "consume", "retry", "outbox", "ledger",
                "inbox", "dead_letter", "transactional", "reconcile", "binlog", "housekeeping"],
               "may name any public Options; nothing in the library may include config"),
    "testing": (["core", "message", "observe", "mysql", "consume", "inbox", "ledger", "dead_letter"],
                "doubles for the seams; never included by the library"),
}

# (file, folder): the one file of its folder that may include that folder, and why.
EXCEPTIONS = {
    ("src/inbox/redis_hint.cpp", "redis"): "Redis is a hint: one file may ask it",
    ("include/oncemark/inbox/redis_hint.hpp", "redis"): "Redis is a hint: one file may ask it",
}

# Third-party headers: the places that may include them, by prefix of the path, and why nobody else may.
THIRD_PARTY = {
    r"mariadb/": (["src/binlog/stream.cpp"], "libmariadb carries packets of the binlog, and nothing else"),
    r"zlib\.h|zstd\.h": (["src/binlog/", "tests/unit/binlog/"], "what servers compress in their binlogs"),
    r"cppconn/|mysql_": (["src/mysql/", "bench/server.hpp", "bench/raw_limit.cpp"],
                         "Connector/C++ stays behind oncemark/mysql; a judge and a limit do without us"),
    r"librdkafka/": (["src/kafka/", "tests/unit/kafka/", "tests/support/", "bench/topic.hpp", "bench/live.cpp"],
                     "librdkafka stays behind oncemark/kafka; its mock broker is for that folder's tests"),
    r"hiredis/": (["src/redis/"], "hiredis stays behind oncemark/redis"),
    r"spdlog/|fmt/": (["src/observe/spdlog_sink.cpp"], "logging goes through oncemark/observe/log.hpp"),
    r"nlohmann/": (["src/message/", "src/config/", "tools/", "tests/", "bench/"],
                   "JSON is a format of headers and of programs"),
    r"xxhash\.h": (["src/message/", "src/mysql/"], "hashes that lie in tables have one home each"),
    r"toml\+\+/|toml\.hpp": (["src/config/"], "programs read their settings through oncemark/config"),
    r"(jq|jv)\.h$": (["tools/oncemark/jq.cpp"], "a filter of the programs, behind one class"),
    r"CLI/": (["tools/"], "command lines belong to programs"),
    r"gtest/|gmock/": (["tests/", "docs/examples/"], "test code, and what shows users how to write it"),
    r"benchmark/": (["bench/"], "benchmark code"),
}

# What angle brackets may name in a public header, besides <oncemark/...>: names of the standard library have neither
# slash nor dot.
STANDARD_HEADER = re.compile(r"[a-z_]+$")
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
SOURCES = ("include", "src", "tools", "tests", "bench", "docs")


def folder_of(path):
    """The layer that a file or an include path lies in; None outside the library."""
    for prefix in ("include/oncemark/", "src/", "oncemark/"):
        if path.startswith(prefix) and path.count("/") > prefix.count("/"):
            return path[len(prefix):].split("/")[0]
    return None


def target_folder(include):
    """The layer that an include names; None for headers that are not ours."""
    folder = folder_of(include) or include.split("/")[0]
    return folder if "/" in include and folder in MAY_INCLUDE else None


def problems_of_layers(file, include, quoted):
    own = folder_of(file)
    if file == "include/oncemark/oncemark.hpp":
        return
    if include == "oncemark/oncemark.hpp" and file.startswith(("src/", "include/")):
        yield "the library never includes the umbrella header; name the headers that are needed"
    if own is None:
        if quoted and file.startswith(("tools/", "docs/", "bench/")) and (ROOT / "src" / include).is_file():
            yield "programs and examples use public headers only, never src/"
        return
    if own not in MAY_INCLUDE:
        yield f"the folder {own} is not in the table of tools/lint/check_includes.py"
        return
    target = target_folder(include)
    if target is None or target == own or (file, target) in EXCEPTIONS:
        return
    allowed, reason = MAY_INCLUDE[own]
    if target not in allowed:
        yield f"{own} may not include {target}: {reason}"


def problems_of_third_parties(file, include, quoted):
    if file.startswith("include/") and not include.startswith("oncemark/"):
        if quoted or not STANDARD_HEADER.match(include):
            yield "a public header includes the standard library and <oncemark/...> only"
        return
    for pattern, (places, reason) in THIRD_PARTY.items():
        if re.match(pattern, include) and not file.startswith(tuple(places)):
            yield f"only {', '.join(places)} may include this: {reason}"


def check_file(file):
    for number, line in enumerate((ROOT / file).read_text(encoding="utf-8").splitlines(), start=1):
        found = INCLUDE.match(line)
        if not found:
            continue
        quoted, include = found[1] == '"', found[2]
        for check in (problems_of_layers, problems_of_third_parties):
            for problem in check(file, include, quoted):
                yield f"{file}:{number}: {line.strip()}: {problem}"


def check_cmake():
    """CMakeLists.txt names for each part what it uses: no more than the table allows."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    for part, arguments in re.findall(r"^oncemark_part\((\w+)([^)]*)\)", text, re.MULTILINE):
        uses = re.search(r"USES ([a-z_ ]+)", arguments)
        for used in uses[1].split() if uses else []:
            excepted = any(folder_of(file) == part and folder == used for file, folder in EXCEPTIONS)
            if part not in MAY_INCLUDE or (used not in MAY_INCLUDE[part][0] and not excepted):
                yield f"CMakeLists.txt: {part} USES {used}, which check_includes.py does not allow"


def main():
    files = sorted(path.relative_to(ROOT).as_posix() for top in SOURCES for pattern in ("*.hpp", "*.cpp", "*.h")
                   for path in (ROOT / top).rglob(pattern))
    problems = [problem for file in files for problem in check_file(file)] + list(check_cmake())
    print("\n".join(problems) if problems else f"check_includes: {len(files)} files, all includes go down")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
