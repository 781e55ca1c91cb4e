"""The pages of the documentation as their code blocks."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "config/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and where it stands."""

    page: str
    line: int
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that the block is, as its first line says: ``# name.py``."""
        named = re.match(r"# (\w+\.(?:py|yaml))\n", self.text)
        return named[1] if named else None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path, language: str = "") -> list[Block]:
    """Return the page's blocks, of one language if it is named."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```{?([\w-]*)[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    name = page.relative_to(ROOT).as_posix()
    all_ = [Block(name, text.count("\n", 0, one.start()) + 1, one[1], one[2]) for one in found]
    return [block for block in all_ if block.language == language or not language]


def write_files(page: Path, folder: Path) -> None:
    """Write the page's files into a folder."""
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")


def carry_out(page: Path, folder: Path) -> None:
    """Write the page's files into a folder, and run its Python there from top to bottom, in one session."""
    write_files(page, folder)
    session: dict[str, object] = {}
    for block in blocks(page, "python"):
        if not block.file:
            exec(compile("\n" * block.line + block.text, block.page, "exec"), session)


def worked_example(folder: Path) -> None:
    """Write the method of docs/add_method.md and the config of the small suite with its row into a folder."""
    page = ROOT / "docs/add_method.md"
    write_files(page, folder)
    row = blocks(page, "yaml")[0].text
    head, end, tail = (ROOT / "config/smoke.yaml").read_text().partition("    attacks:\n      digits:\n")
    head = head.replace("suite: smoke", "suite: my_suite")
    (folder / "my_suite.yaml").write_text(head + row + end + tail)


def commands(page: Path) -> list[tuple[Block, str]]:
    """Return every command of the page's ``bash`` blocks, without comments, lines continued."""
    found = []
    for block in blocks(page, "bash"):
        for line in block.text.replace("\\\n", " ").splitlines():
            if command := re.sub(r"(^|\s)#.*", "", line).strip():
                found.append((block, command))
    return found
