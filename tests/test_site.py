"""The site is built strictly: every page is in it, no link leads nowhere, and nothing comes from another host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/*.md"), ROOT / "benchmarks/RESULTS.md"]
REFERENCE = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs/api").glob("*.md")))
FETCHED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "link": "href"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {key: value for key, value in os.environ.items() if key != "SITE_URL"} | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


class Fetched(HTMLParser):
    """The addresses that a browser fetches by itself when it shows a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if address := dict(attrs).get(FETCHED.get(tag, "")):
            self.addresses.append(address)


def place(page: Path) -> str:
    """The file of the site that a page becomes."""
    name = page.relative_to(ROOT).with_suffix("").as_posix().removeprefix("docs/")
    name = name.removesuffix("README").rstrip("/")
    return f"{name}/index.html" if name else "index.html"


@pytest.mark.slow
def test_every_page_is_on_the_site(site: Path) -> None:
    missing = [str(page) for page in PAGES if not (site / place(page)).is_file()]
    assert not missing
    for plugin in ROOT.glob("plugins/*/pyproject.toml"):
        assert f'href="plugins/{plugin.parent.name}/"' in (site / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_nothing_comes_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        for address in Fetched(page.read_text(encoding="utf-8")).addresses:
            assert not re.match(r"(\w+:)?//", address), f"{page}: {address}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import )[\"']?(?:\w+:)?//", sheet.read_text(encoding="utf-8")), sheet


@pytest.mark.slow
def test_the_reference_shows_signatures_and_docstrings(site: Path) -> None:
    use = (site / "api/use/index.html").read_text(encoding="utf-8")
    for name in ("zoo.load", "zoo.list_models", "zoo.info", "zoo.download", "zoo.translator.Translator.translate"):
        assert f'id="{name}"' in use
    assert "The translator of a model, of a weights file" in use
    contracts = (site / "api/contracts/index.html").read_text(encoding="utf-8")
    for name in (
        "generator.Generator.parts",
        "loss.Loss.forward",
        "trainer.Trainer.step",
        "evaluate.metric.Metric.update",
    ):
        assert f'id="zoo.{name}"' in contracts


def test_every_module_that_a_plugin_may_import_is_in_the_reference() -> None:
    plugins = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    table = plugins.partition("## What a plugin may import")[2].partition("\n## ")[0]
    modules = re.findall(r"^\| `(zoo\.[\w.]+)` \|", table, re.M)
    assert len(modules) > 20
    shown = re.findall(r"^::: ([\w.]+)$", REFERENCE, re.M)
    for module in modules:
        assert any(name == module or name.startswith(f"{module}.") for name in shown), module
