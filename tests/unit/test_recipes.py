"""The recipes of other packagers agree with setup.cfg, from which the wheel is made."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from s3dlio._version import __version__

ROOT = Path(__file__).resolve().parents[2]
RECIPE = (ROOT / "conda" / "meta.yaml").read_text(encoding="utf-8")
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg")


def _requirements(lines: str) -> set[str]:
    """Names and bounds, without spaces and comments."""
    words = (re.sub(r"\s|^-", "", line.partition("#")[0]) for line in lines.strip().splitlines())
    return {word for word in words if word}


def _of_recipe(part: str) -> set[str]:
    found = re.search(rf"^  {part}:\n((?:    - .*\n)+)", RECIPE, re.MULTILINE)
    assert found is not None
    return _requirements("\n".join(line.strip().removeprefix("- ") for line in found[1].splitlines()))


def test_the_conda_recipe_needs_what_the_wheel_needs() -> None:
    python = "python" + CONFIG["options"]["python_requires"]
    assert _of_recipe("run") == _requirements(CONFIG["options"]["install_requires"]) | {python, "__linux"}


def test_the_conda_recipe_builds_with_what_the_wheel_is_built_with() -> None:
    needed = re.search(r"requires = \[(.*)\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert needed is not None
    python = "python" + CONFIG["options"]["python_requires"]
    assert _of_recipe("host") == set(re.findall(r'"([^"]+)"', needed[1])) | {python, "pip"}


def test_the_conda_recipe_makes_the_same_commands() -> None:
    scripts = CONFIG["options.entry_points"]["console_scripts"].strip().splitlines()
    found = re.search(r"entry_points:\n((?:    - .*\n)+)", RECIPE)
    assert found is not None
    assert [line.strip().removeprefix("- ") for line in found[1].splitlines()] == scripts


def test_the_conda_recipe_finds_the_version() -> None:
    found = re.search(r"load_file=\"([^\"]+)\", regex_pattern='([^']+)'", RECIPE)
    assert found is not None
    version = re.search(found[2], (ROOT / found[1]).read_text(encoding="utf-8"))
    assert version is not None
    assert version[1] == __version__


@pytest.mark.parametrize("name", ["license", "summary"])
def test_the_conda_recipe_says_what_the_package_says(name: str) -> None:
    told = re.search(rf"^  {name}: (.*)$", RECIPE, re.MULTILINE)
    assert told is not None
    if name == "license":
        assert told[1] == CONFIG["metadata"]["license"]
    else:
        assert CONFIG["metadata"]["description"].startswith(told[1].partition(" behind")[0])


def test_the_container_file_installs_from_wheels_alone_and_drops_root() -> None:
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    assert "--no-index" in text
    assert re.search(r"^USER s3dlio$", text, re.MULTILINE)
    assert not re.search(r"apt-get|curl |wget ", text)
