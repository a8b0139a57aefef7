"""Which files of the checkout are pages of the site. They lie in it as they do here, so that their links lead on in both."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
SHOWN = (
    *("*.md", "LICENSE", "CITATION.cff", "benchmarks/RESULTS.md"),
    *("docs/**/*.md", "docs/**/*.jpg", "docs/**/*.png"),
    *("plugins/*/*.md", "plugins/*/LICENSE", "plugins/*/NOTICE"),
)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """The theme's own files, and ours; addresses do without ``docs/``."""
    shown = [file for file in files if file.src_dir != config.docs_dir]
    for path in sorted({path for pattern in SHOWN for path in ROOT.glob(pattern)}):
        file = File(path.relative_to(ROOT).as_posix(), str(ROOT), config.site_dir, config.use_directory_urls)
        file.dest_uri = file.dest_uri.removeprefix("docs/")
        if path.suffix not in (".md", ".jpg", ".png"):  # a browser shows what is called a text, and saves what is not
            file.dest_uri += ".txt"
        shown.append(file)
    return Files(shown)
