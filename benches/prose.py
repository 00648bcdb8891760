"""Counts of the Rust sources of `crates/` and `benches/`: wording of comments, unsafe code, lengths of functions and files.

    python3 benches/prose.py [--at COMMIT ...] [--list]

Prints a table with the counts of the working tree or, with `--at`, of commits, one pair of columns per commit:
production code and test code. Test code is every file below a folder `tests`, and every module `#[cfg(test)]`.

| row | what is counted |
|---|---|
| lines, lines of comments | all lines; lines that are a comment and nothing else |
| doc lines that open with What/Who | lines of `///` and `//!` whose first word is one of the two |
| comments that say "the same" | blocks of adjacent comment lines with these words |
| unsafe blocks, without SAFETY | `unsafe { … }` and `unsafe impl`; those without `SAFETY:` above their statement |
| unsafe functions, without # Safety | `unsafe fn` outside of `impl … for …`; those without this section in their docs |
| functions, over 60 and over 100 lines | from `fn` to the closing brace |
| files, over 300 lines | without the lines of the other column |

`--list` also prints the places of the last three kinds of findings. Python 3.11, standard library alone.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDERS = ("crates", "benches")
LONG_FUNCTION, LONGEST_FUNCTION, LONG_FILE = 60, 100, 300

#: A comment, a string, a character or a lifetime at the current position of a Rust file.
TOKEN = re.compile(
    r"""
      (?P<line>//[^\n]*)
    | (?P<block>/\*)
    | (?P<raw>\bb?r(?P<hashes>\#*)".*?"(?P=hashes))
    | (?P<string>b?"(?:\\.|[^"\\])*")
    | (?P<char>b?'(?:\\[^\n]*?|[^\\'\n])')
    | (?P<lifetime>'[A-Za-z_]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)
#: The marks that give code its structure.
STRUCTURE = re.compile(r"[{}()\[\];]")
UNSAFE = re.compile(r"\bunsafe\s*(?:(\{|impl\b)|(?:extern\s*\"\"\s*)?(fn)\s+\w+)")

ROWS = (
    "lines",
    "lines of comments",
    "doc lines that open with What/Who",
    'comments that say "the same"',
    "unsafe blocks",
    "  without SAFETY",
    "unsafe functions",
    "  without # Safety",
    "functions",
    f"  over {LONG_FUNCTION} lines",
    f"  over {LONGEST_FUNCTION} lines",
    "files",
    f"  over {LONG_FILE} lines",
)


@dataclass
class Source:
    """A Rust file, split into code and comments, line by line."""

    #: Code of every line, with empty strings and without comments.
    code: list[str]
    #: Comment of every line, with its slashes; empty if there is none.
    comments: list[str]

    def is_comment(self, line: int) -> bool:
        """Whether a line is a comment and nothing else."""
        return bool(self.comments[line]) and not self.code[line].strip()


@dataclass
class Counts:
    """The counts of one kind of code, and the places of findings by row."""

    numbers: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROWS, 0))
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, row: str, place: str | None = None, count: int = 1) -> None:
        """Adds to a row."""
        self.numbers[row] += count
        if place:
            self.places.setdefault(row, []).append(place)


def block_end(text: str, start: int) -> int:
    """Returns the end of a block comment, which may contain others."""
    depth, at = 1, start + 2
    while depth and (found := re.compile(r"/\*|\*/").search(text, at)):
        depth += 1 if found[0] == "/*" else -1
        at = found.end()
    return at if depth == 0 else len(text)


def split(text: str) -> Source:
    """Splits a file into code and comments."""
    code, comments, at = [], [], 0

    def put(code_text: str, comment_text: str) -> None:
        code.append(code_text)
        comments.append(comment_text)

    while found := TOKEN.search(text, at):
        put(text[at : found.start()], "")
        at = found.end()
        if found["block"]:
            at = block_end(text, found.start())
        piece = text[found.start() : at]
        if found["line"] or found["block"]:
            put("\n" * piece.count("\n"), piece)
        elif found["lifetime"]:
            put(piece, "")
        else:
            put('""' + "\n" * piece.count("\n"), "")
    put(text[at:], "")
    # Comments keep their own line breaks, and code those of strings.
    lines: list[list[str]] = [["", ""]]
    for code_text, comment_text in zip(code, comments):
        own, other = code_text.split("\n"), comment_text.split("\n")
        if comment_text:
            own = [""] * len(other)
        else:
            other = [""] * len(own)
        for number, pair in enumerate(zip(own, other)):
            if number:
                lines.append(["", ""])
            lines[-1][0] += pair[0]
            lines[-1][1] += pair[1]
    if lines[-1] == ["", ""]:
        lines.pop()
    return Source([line[0] for line in lines], [line[1] for line in lines])


@dataclass
class Block:
    """A pair of braces: the code before it, and its lines."""

    header: str
    #: Line on which the header begins.
    first: int
    last: int


def blocks(source: Source) -> list[Block]:
    """Returns all pairs of braces with the code since the last brace or semicolon before them."""
    found: list[Block] = []
    # The number of open parentheses and brackets is that of the innermost block.
    open_blocks: list[tuple[Block, int]] = []
    header, first, depth = "", None, 0
    for number, line in enumerate(source.code):
        at = 0
        for mark in STRUCTURE.finditer(line):
            text = line[at : mark.start()]
            if first is None and text.strip():
                first = number
            header += text
            at = mark.end()
            if mark[0] == "{":
                open_blocks.append((Block(header.strip(), number if first is None else first, number), depth))
                depth = 0
            elif mark[0] == "}" and open_blocks:
                block, depth = open_blocks.pop()
                block.last = number
                found.append(block)
            elif mark[0] != ";" or depth > 0:
                # A semicolon in brackets is that of an array.
                depth += {"(": 1, "[": 1, ")": -1, "]": -1, ";": 0}.get(mark[0], 0)
                header += mark[0]
                if first is None:
                    first = number
                continue
            header, first = "", None
        rest = line[at:]
        if first is None and rest.strip():
            first = number
        header += rest + "\n"
    return found


def above(source: Source, line: int) -> str:
    """Returns the comments directly above a line; attributes may be between."""
    lines = []
    for number in range(line - 1, -1, -1):
        code = source.code[number].strip()
        if source.is_comment(number):
            lines.append(source.comments[number])
        elif not (code.startswith("#[") or (code.endswith("]") and lines == [])):
            break
    return "\n".join(reversed(lines))


def statement(source: Source, line: int) -> int:
    """Returns the first line of the statement that a line belongs to."""
    while line > 0 and not source.is_comment(line - 1):
        before = source.code[line - 1].strip()
        if not before or before[-1] in ";{}," or before.startswith("#["):
            break
        line -= 1
    return line


def is_safe(source: Source, line: int) -> bool:
    """Whether the unsafe block on a line has a comment that says why it is sound."""
    first = statement(source, line)
    near = [source.comments[number] for number in range(first, line + 1)]
    return any("SAFETY:" in text for text in (above(source, first), above(source, line), *near))


def count(path: str, text: str, production: Counts, tests: Counts) -> None:
    """Adds a file's counts."""
    source = split(text)
    total = len(source.code)
    pairs = blocks(source)
    in_tests = [Path(path).match("*/tests/*") or "tests" in Path(path).parts or Path(path).name == "tests.rs"] * total
    for block in pairs:
        if re.search(r"#\[cfg\((?:all\()?test\b", block.header) and re.search(r"\bmod\s+\w+$", block.header):
            in_tests[block.first : block.last + 1] = [True] * (block.last + 1 - block.first)

    def kind(line: int) -> Counts:
        return tests if in_tests[line] else production

    for counts, own in ((production, in_tests.count(False)), (tests, in_tests.count(True))):
        counts.add("lines", count=own)
        if own:
            counts.add("files")
        if own > LONG_FILE:
            counts.add(f"  over {LONG_FILE} lines", f"{path}: {own} lines")

    comment = ""
    for number in range(total + 1):
        if number < total and source.is_comment(number):
            kind(number).add("lines of comments")
            text = source.comments[number].strip()
            if re.match(r"//[/!]\s*(?:\*\s+)?(?:What|Who)\b", text):
                kind(number).add("doc lines that open with What/Who", f"{path}:{number + 1}")
            comment += " " + text.lstrip("/!* ")
            continue
        # A comment that ends a line of code is a comment of its own.
        ending = source.comments[number] if number < total else ""
        for block_text, line in ((comment, number - 1), (ending, number)):
            if re.search(r"\bthe same\b", block_text, re.IGNORECASE):
                kind(line).add('comments that say "the same"', f"{path}:{line + 1}")
        comment = ""

    whole = "\n".join(source.code)
    for found in UNSAFE.finditer(whole):
        line = whole.count("\n", 0, found.start())
        place = f"{path}:{line + 1}"
        if found[1]:
            kind(line).add("unsafe blocks")
            if not is_safe(source, line):
                kind(line).add("  without SAFETY", place)
            continue
        inside = [block for block in pairs if block.first <= line <= block.last]
        if any(re.match(r"(?:#\[[^\]]*\]\s*)*(?:unsafe\s+)?impl\b.*\bfor\b", block.header, re.DOTALL) for block in inside):
            continue
        kind(line).add("unsafe functions")
        first = statement(source, line)
        if "# Safety" not in above(source, first):
            kind(line).add("  without # Safety", place)

    for block in pairs:
        if not re.search(r"\bfn\s+\w+", block.header) or re.search(r"\bfn\s+\w+.*=", block.header.split("(")[0]):
            continue
        # The header may begin with attributes; the function begins with its own line.
        begin = next(
            (line for line in range(block.first, block.last + 1) if re.search(r"\bfn\s+\w+", source.code[line])),
            block.first,
        )
        kind(begin).add("functions")
        length = block.last - begin + 1
        for limit in (LONG_FUNCTION, LONGEST_FUNCTION):
            if length > limit:
                kind(begin).add(f"  over {limit} lines", f"{path}:{begin + 1}: {length} lines")


def git(*arguments: str, given: bytes | None = None) -> bytes:
    """Runs git in the repository and returns its output."""
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, input=given, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"error: `git {' '.join(arguments)}`: {done.stderr.decode().strip()}")
    return done.stdout


def files(commit: str | None) -> dict[str, str]:
    """Returns the Rust files of the working tree, or of a commit, by path."""
    if commit is None:
        paths = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", *FOLDERS).decode().split("\0")
        paths = [path for path in paths if path.endswith(".rs") and (REPOSITORY / path).is_file()]
        return {path: (REPOSITORY / path).read_text() for path in paths}
    git("rev-parse", "--verify", f"{commit}^{{commit}}")
    paths = git("ls-tree", "-r", "-z", "--name-only", commit, *FOLDERS).decode().split("\0")
    return {path: git("show", f"{commit}:{path}").decode() for path in paths if path.endswith(".rs")}


def counted(sources: dict[str, str]) -> tuple[Counts, Counts]:
    """Returns the counts of production code and of test code."""
    production, tests = Counts(), Counts()
    for path, text in sorted(sources.items()):
        count(path, text, production, tests)
    return production, tests


def table(columns: dict[str, tuple[Counts, Counts]]) -> str:
    """Returns a Markdown table with a pair of columns per version."""
    heads = [f"{version}{' tests' if tests else ''}" for version in columns for tests in (False, True)]
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for row in ROWS:
        numbers = [str(counts.numbers[row]) for pair in columns.values() for counts in pair]
        lines.append(f"| {row.replace('  ', '– ')} | " + " | ".join(numbers) + " |")
    return "\n".join(lines) + "\n"


def main(words: list[str]) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at", action="append", metavar="COMMIT", help="count in COMMIT instead of the working tree")
    parser.add_argument("--list", action="store_true", help="also print file and line of every finding")
    given = parser.parse_args(words)
    columns = {commit or "working tree": counted(files(commit)) for commit in given.at or [None]}
    print(table(columns), end="")
    if given.list:
        for version, pair in columns.items():
            for row in ROWS:
                for place in (place for counts in pair for place in counts.places.get(row, [])):
                    print(f"{version}: {row.strip()}: {place}")


if __name__ == "__main__":
    main(sys.argv[1:])
