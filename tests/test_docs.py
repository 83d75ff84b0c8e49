"""The documents: links lead somewhere, and what they name exists."""

import re
from pathlib import Path

import click
import pytest

from lensbank import cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(p for folder in (".", "docs", "demo", "demo/data", "demo/data/images", "demo/data/heldout", "benchmarks")
               for p in (ROOT / folder).glob("*.md"))  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+://", target):
            assert (page.parent / target).exists(), f"{page.name} links {target}"


def anchors(page):
    """What a link to a heading of a page may say behind its ``#``, as GitHub makes it."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = [re.sub(r"\]\([^)]*\)", "", title) for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_headings_find_one(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+://", target):
            other = page.parent / target if target else page
            assert anchor in anchors(other), f"{page.name} links {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_and_modules_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for name in re.findall(r"(?:^|`|\s{4})make ([a-z-]+)\b", text, re.MULTILINE)}
    assert named <= targets, f"{page.name}: {sorted(named - targets)}"
    for module in re.findall(r"python -m ((?:demo|benchmarks)\.[a-z_]+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), f"{page.name}: {module}"


def commands(text):
    """What a page says of ``lensbank``: lines of its blocks, continued ones joined, and code within its sentences."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in re.sub(r"\\\n\s*", " ", block).splitlines()]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]
    return [found[1] for line in lines if (found := re.match(r"(?:\$ )?lensbank ([a-z].*)", line.strip()))]


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_commands_that_are_shown_have_the_options_that_they_are_shown_with(page):
    for line in commands(page.read_text(encoding="utf-8")):
        command, words = cli.main_group, re.split(r"\s#|[|;>]|&&", line)[0].split()
        while isinstance(command, click.Group) and words and (below := command.commands.get(words[0])):
            command, words = below, words[1:]
        known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
        shown = {word.split("=")[0] for word in words if re.match(r"--[a-z]", word)}
        assert shown <= known, f"{page.name}: lensbank {line} has no {sorted(shown - known)}"


def test_commands_are_found_where_they_are_shown():
    found = commands((ROOT / "docs" / "image-banks.md").read_text(encoding="utf-8"))
    assert {line.split()[0] for line in found} >= {"index", "find", "score"}
    assert any(line.startswith("query") for line in commands((ROOT / "docs" / "positions.md").read_text("utf-8")))


def test_the_front_page_is_among_the_pages_tested():
    assert ROOT / "README.md" in PAGES
    assert len(PAGES) >= 8
