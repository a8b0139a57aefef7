"""What lies around the code: workflows, forms, hooks and citation name what there is, and leave out nothing."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from zoo.catalogue.manifest import CORE
from zoo.catalogue.registry import registry

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = [path for path in sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")) if path.name != "config.yml"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TARGETS = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
FILES = re.compile(r"(?<![\w@:-])(?:\.ci|\.github|docs|plugins|benchmarks|tests)/[\w./-]+")


def read(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict), path.name
    return found


def jobs(name: str) -> dict[str, Any]:
    return dict(read(ROOT / f".github/workflows/{name}.yml")["jobs"])


# -- workflows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_holds_together(path: Path) -> None:
    workflow = read(path)
    assert workflow[True], "says when it runs"  # `on` is YAML's word for true
    assert workflow["permissions"] == {"contents": "read"}, "no job may do more that does not say so"
    for name, job in workflow["jobs"].items():
        needed = job.get("needs", [])
        assert {*([needed] if isinstance(needed, str) else needed)} <= workflow["jobs"].keys() - {name}
        if "uses" in job:
            called = read(ROOT / job["uses"])
            assert "workflow_call" in called[True]
            continue
        ids = {step["id"] for step in job["steps"] if "id" in step}
        matrix = job.get("strategy", {}).get("matrix", {})
        text = yaml.safe_dump(job)
        assert {*re.findall(r"\bsteps\.(\w+)", text)} <= ids
        assert {*re.findall(r"\bmatrix\.(\w+)", text)} == matrix.keys()
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), step
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+(/[\w-]+)+@(v\d+|release/v1)", step["uses"]), "an action has a version"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_names_what_there_is(path: Path) -> None:
    for job in read(path)["jobs"].values():
        for step in job.get("steps", []):
            run = step.get("run", "")
            assert {*re.findall(r"\bmake (\w+)", run)} <= {*TARGETS}
            for file in FILES.findall(run):
                assert [*ROOT.glob(file)], file
            for extra in re.findall(r"'\.\[(\w+)\]'", run):
                assert extra in PROJECT["optional-dependencies"]


def test_the_tests_run_wherever_the_zoo_does() -> None:
    everything, quick = jobs("tests")["everything"], jobs("tests")["quick"]
    assert "bash .ci/run" in [step.get("run", "").split(" #")[0] for step in everything["steps"]]
    matrix = quick["strategy"]["matrix"]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert PROJECT["requires-python"] == f">={matrix['python'][0]}"


def test_every_wheel_is_built_and_published_without_a_token() -> None:
    release = jobs("release")
    projects = {path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("plugins/*/pyproject.toml")}
    assert {*release["build"]["strategy"]["matrix"]["project"]} == {".", *projects}
    assert read(ROOT / ".github/workflows/release.yml")[True] == {"push": {"tags": ["v*"]}}
    publish = release["publish"]
    assert publish["environment"]
    assert publish["permissions"] == {"id-token": "write"}
    assert {*publish["needs"]} >= {"tests", "try"}, "what fails is not published"
    assert [name for name, job in release.items() if "id-token" in job.get("permissions", {})] == ["publish"]
    for path in WORKFLOWS:
        assert "secrets." not in path.read_text(encoding="utf-8")


def test_the_site_goes_to_pages() -> None:
    site = jobs("site")
    assert any("mkdocs build --strict" in step.get("run", "") for step in site["build"]["steps"])
    assert site["deploy"]["permissions"] == {"pages": "write", "id-token": "write"}


# -- forms, hooks, citation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_can_be_filled_in(path: Path) -> None:
    form = read(path)
    assert form["name"] and form["description"]
    for field in form["body"]:
        assert field["type"] in ("checkboxes", "dropdown", "input", "markdown", "textarea")
        assert field["attributes"]["label"]
    ids = [field["id"] for field in form["body"]]
    assert len(ids) == len({*ids})


def test_a_bug_report_carries_the_doctors_page() -> None:
    (field,) = [field for field in read(ROOT / ".github/ISSUE_TEMPLATE/bug.yml")["body"] if field["id"] == "doctor"]
    assert "zoo doctor" in field["attributes"]["label"]
    assert field["validations"]["required"] is True


def test_the_hooks_before_a_commit_are_there() -> None:
    repositories = read(ROOT / ".pre-commit-config.yaml")["repos"]
    for repository in repositories:
        assert repository["repo"] == "local" or re.fullmatch(r"v\d+\.\d+\.\d+", repository["rev"])
    (local,) = [repository for repository in repositories if repository["repo"] == "local"]
    tools = {shlex.split(hook["entry"])[2] for hook in local["hooks"]}
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert tools == {"ruff", "mypy"}
    assert all(f"$(RUN) {tool}" in make for tool in tools)


def test_the_citation_has_the_software_and_every_paper_of_a_plugin() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert (citation["cff-version"], citation["type"], citation["license"]) == ("1.2.0", "software", PROJECT["license"])
    assert citation["title"] and citation["message"] and citation["authors"]
    papers: dict[str, dict] = {}
    for card in registry().cards.values():
        if card.plugin != CORE:  # what the core itself brings, as its parser of faces, is nobody's paper
            papers.setdefault(card.plugin, {})[card.paper.title] = card.paper
    assert len(citation["references"]) == len(papers)
    told = {reference["title"]: reference for reference in citation["references"]}
    for plugin, theirs in papers.items():
        (title,) = theirs.keys() & told.keys()
        paper, reference = theirs[title], told[title]
        names = [f"{one['family-names']} {one['given-names']} ({one['alias']})" for one in reference["authors"]]
        assert names == [*paper.authors], plugin
        assert reference.get("year") == paper.year, plugin
