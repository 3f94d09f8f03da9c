"""What boards/ says. As a program: boards.py list | targets | BOARD KEY, with dots for tables (emulation.cpu)."""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "boards"


def names() -> list[str]:
    """Every board, sorted."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def load(name: str) -> dict:
    """The file of one board; ends the program where there is none."""
    file = FOLDER / f"{name}.toml"
    try:
        board = tomllib.loads(file.read_text())
    except FileNotFoundError:
        sys.exit(f"no board is called {name}; there are: {', '.join(names())}")
    if board["name"] != name:
        sys.exit(f"{file} calls itself {board['name']}")
    return board


def chosen(words: list[str]) -> list[dict]:
    """The boards of a command line; `all` is every one."""
    if not words:
        sys.exit(f"name boards, or all; there are: {', '.join(names())}")
    return [load(name) for name in (names() if words == ["all"] else words)]


def targets(boards: list[dict]) -> list[str]:
    """Their Rust targets, each once, in the order of first use."""
    return list(dict.fromkeys(board["target"] for board in boards))


def main(words: list[str]) -> None:
    match words:
        case ["list"]:
            print("\n".join(names()))
        case ["targets", *which]:
            print("\n".join(targets(chosen(which))))
        case [name, key]:
            value = load(name)
            for part in key.split("."):
                value = value[part]
            print(value)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
