#!/usr/bin/env python3
"""Compares the code shown in the docs with the examples that are compiled and run.

A block of code in Markdown that follows a line

    <!-- snippet: docs/examples/shipping.cpp [consumer] -->

must be the lines between the two `// [consumer]` markers of that file, without what they are all indented by.
With --update the docs are rewritten instead.

usage: tools/lint/check_snippets.py [--update]
"""
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(<!-- snippet: (\S+) \[(\w+)\] -->\n+```\w*\n)(.*?)(^```)", re.DOTALL | re.MULTILINE)
DOCS = ["README.md", "CONTRIBUTING.md", *sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").rglob("*.md"))]


def snippet(file, name):
    """The marked lines of a file."""
    path = ROOT / file
    if not path.is_file():
        raise LookupError(f"there is no file {file}")
    parts = re.split(rf"^\s*(?://|--|#) \[{name}\]\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if len(parts) != 3:
        raise LookupError(f"{file} has {len(parts) - 1} markers [{name}] instead of two")
    return textwrap.dedent(parts[1])


def check(doc, update):
    text = (ROOT / doc).read_text(encoding="utf-8")
    problems, count = [], 0

    def replace(found):
        nonlocal count
        count += 1
        line = text.count("\n", 0, found.start()) + 1
        try:
            wanted = snippet(found[2], found[3])
        except LookupError as error:
            problems.append(f"{doc}:{line}: {error}")
            return found[0]
        if found[4] != wanted and not update:
            problems.append(f"{doc}:{line}: differs from {found[2]} [{found[3]}]; "
                            "run: tools/lint/check_snippets.py --update")
        return found[1] + wanted + found[5]

    changed = BLOCK.sub(replace, text)
    if text.count("<!-- snippet:") != count:
        problems.append(f"{doc}: a snippet comment is not followed by a block of code")
    if update and changed != text:
        (ROOT / doc).write_text(changed, encoding="utf-8")
    return problems, count


def main():
    update = "--update" in sys.argv[1:]
    results = [check(doc, update) for doc in DOCS if (ROOT / doc).is_file()]
    problems = [problem for found, _ in results for problem in found]
    total = sum(count for _, count in results)
    print("\n".join(problems) if problems else f"check_snippets: {total} snippets are what is compiled")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
