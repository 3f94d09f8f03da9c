#!/usr/bin/env python3
"""weir.toml(5) from docs/CONFIG.md, so that what is documented is documented once. Usage: weir.toml.5.py CONFIG.md > weir.toml.5"""

import re
import sys


def text(markdown):
    """Markdown within a line as roff."""
    roff = markdown.replace("\\", "\\e").replace("\u2212", "-").replace("\u2026", "...")
    roff = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", roff)
    roff = re.sub(r"\*\*([^*]*)\*\*", r"\\fB\1\\fR", roff)
    roff = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", roff)
    # A leading dot or quote would be a request.
    return "\\&" + roff if roff.startswith((".", "'")) else roff


def cells(row):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def table(rows):
    """A tagged list: the first column is the tag, the others are said with their heads."""
    heads, _, *rows = [cells(row) for row in rows]
    yield ".Bl -tag -width Ds"
    for first, *others in rows:
        yield f".It {text(first)}"
        said = [f"{head.capitalize()}: {text(cell)}." for head, cell in zip(heads[1:], others) if cell]
        yield "\n.br\n".join(said)
    yield ".El"


def page(markdown):
    lines = markdown.split("\n")
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            end = lines.index("```", at + 1)
            yield ".Bd -literal -offset indent"
            yield from (text(code) for code in lines[at + 1 : end])
            yield ".Ed"
            at = end
        elif line.startswith("|"):
            end = at
            while lines[end].startswith("|"):
                end += 1
            yield from table(lines[at:end])
            at = end - 1
        elif line.startswith("# "):
            yield ".Sh DESCRIPTION"
        elif line.startswith("#"):
            yield f".Sh {text(line.lstrip('# ')).upper()}"
        elif line:
            yield text(line)
        elif at + 1 < len(lines) and not lines[at + 1].startswith(("#", "|", "`")):
            yield ".Pp"
        at += 1


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        body = "\n".join(page(file.read().rstrip()))
    body = re.sub(r"(\.Sh [^\n]*)\n\.Pp", r"\1", body)
    print(".Dd November 22, 2026\n.Dt WEIR.TOML 5\n.Os\n.Sh NAME\n.Nm weir.toml\n.Nd configuration of weir")
    print(body)
    print(".Sh SEE ALSO\n.Xr weir 1")


main()
