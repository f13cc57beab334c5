#!/usr/bin/env python3
"""Compares the pages that describe names with the code that has them.

    docs/guarantees.md   a row for every fail point, and each fail point is used in src/
    docs/tables.md       every table and column of src/schema/, with its type
    docs/wire.md         every header of message/names.hpp
    tests/torture/mutants.py   every protection that a test build can switch off
    *.md                 links between pages and files lead somewhere

usage: tools/lint/check_docs.py
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md",
         *sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").rglob("*.md"))]


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def compare(page, wanted, found, what):
    """Lines about what one side has and the other lacks."""
    wanted, found = set(wanted), set(found)
    for name in sorted(wanted - found):
        yield f"{page}: lacks {what} {name}"
    for name in sorted(found - wanted):
        yield f"{page}: describes {what} {name}, which the code does not have"


def check_guarantees():
    page = "docs/guarantees.md"
    listed = re.search(r"names\(\) \{(.*?)\};", read("src/core/faults.cpp"), re.DOTALL)[1]
    names = re.findall(r'"([a-z_.]+)"', listed)
    rows = re.findall(r"^\|[^|]*\| `([a-z_.]+)` \|", read(page), re.MULTILINE)
    yield from compare(page, names, rows, "the fail point")
    for name in sorted({name for name in rows if rows.count(name) > 1}):
        yield f"{page}: has more than one row for {name}"
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.cpp"))
    used = re.findall(r'ONCEMARK_FAIL_POINT\("([a-z_.]+)"\)', sources)
    for name in sorted(set(names) - set(used)):
        yield f"src/core/faults.cpp: names {name}, which no code passes"
    for name in sorted(set(used) - set(names)):
        yield f"src/core/faults.cpp: does not name {name}, which the code passes"


def check_mutants():
    page = "tests/torture/mutants.py"
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.cpp"))
    yield from compare(page, re.findall(r'has_mutant\("(\w+)"\)', sources),
                       re.findall(r'^    "(\w+)": Mutant\(', read(page), re.MULTILINE), "the mutant")


def columns_of_schema():
    """{(table, column): type}, as after all migrations. Only CREATE TABLE and ADD COLUMN are understood."""
    columns = {}
    for path in sorted((ROOT / "src/schema").glob("V*.sql")):
        text = re.sub(r"[ \t]*--[^\n]*", "", path.read_text(encoding="utf-8"))
        for table, body in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+) \((.*?)\n\) ENGINE", text, re.DOTALL):
            for line in re.split(r",\n", body):
                words = line.split(maxsplit=1)
                if words[0] in ("PRIMARY", "UNIQUE", "KEY"):
                    continue
                kind = re.split(r"\s+(?:CHARACTER SET|NOT NULL|NULL|DEFAULT)", " ".join(words[1].split()))[0]
                columns[table, words[0]] = re.sub(r"ENUM\(.*\)", "ENUM", kind)
        for table, changes in re.findall(r"ALTER TABLE (\w+)((?:\s+ADD COLUMN [^,']+,?)+)", text):
            for column, kind in re.findall(r"ADD COLUMN (\w+) (\S+(?: UNSIGNED)?)", changes):
                columns[table, column] = kind
    return columns


def columns_of_page(text):
    columns, table = {}, None
    for line in text.splitlines():
        heading = re.match(r"## `(\w+)`", line)
        row = re.match(r"\| `(\w+)` \| ([^|]*?) \|", line)
        if heading:
            table = heading[1]
        elif row:
            columns[table, row[1]] = row[2]
    return columns


def check_tables():
    page = "docs/tables.md"
    wanted, found = columns_of_schema(), columns_of_page(read(page))
    yield from compare(page, map(".".join, wanted), map(".".join, found), "the column")
    for column in sorted(wanted.keys() & found.keys()):
        kind = re.sub(r" or NULL$", "", found[column])
        if kind != wanted[column]:
            yield f"{page}: {'.'.join(column)} is {wanted[column]}, not {kind}"


def check_wire():
    page = "docs/wire.md"
    names = re.findall(r'= "((?:om-|__dlq\.errors\.)[a-z.-]*[a-z])"', read("include/oncemark/message/names.hpp"))
    rows = re.findall(r"^\| `([^`]+)` \|", read(page), re.MULTILINE)
    yield from compare(page, names, rows, "the header")


def check_links():
    for page in PAGES:
        if not (ROOT / page).is_file():
            continue
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", read(page)):
            is_ours = not target.startswith(("http://", "https://", "mailto:"))
            if is_ours and not (ROOT / page).parent.joinpath(target).exists():
                yield f"{page}: the link to {target} leads nowhere"


def main():
    problems = [*check_guarantees(), *check_mutants(), *check_tables(), *check_wire(), *check_links()]
    print("\n".join(problems) if problems else "check_docs: the pages name what the code has")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
