"""Hold what a package with one new block begins as: what is the same for every kind of block."""

import re
from string import Template
from typing import Literal

from voxstack.cli import new_sequence_block, new_streamable_block

__all__ = ["KINDS", "Kind", "package_name", "skeleton"]

Kind = Literal["streamable", "sequence"]

KINDS = ("streamable", "sequence")


def package_name(block: str) -> str:
    """Return the name of the package that holds a block.

    Example:
        >>> package_name("FadeIn"), package_name("LPCFilter2")
        ('voxstack-fade-in', 'voxstack-lpc-filter2')
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", block)
    return f"voxstack-{words.lower()}"


def skeleton(block: str, kind: Kind) -> dict[str, str]:
    """Return the texts of a package's files, by name."""
    package = package_name(block)
    module = package.replace("-", "_")
    block_of = {"streamable": new_streamable_block, "sequence": new_sequence_block}[kind]
    names = {"Name": block, "module": module, "package": package}
    names["entry"] = Template(block_of.ENTRY).substitute(names).strip()
    names["heard"] = Template(block_of.HEARD).substitute(names).strip()
    files = {
        "README.md": README,
        "pyproject.toml": PROJECT,
        f"test_{module}.py": block_of.TEST,
        f"{module}.py": block_of.CODE,
    }
    return {name: Template(text).substitute(names).lstrip("\n") for name, text in files.items()}


PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$package"
version = "1.0.0"
description = "The block $Name for voxstack"
requires-python = ">=3.11"
dependencies = ["numpy", "voxstack"]

[project.entry-points."voxstack.blocks"]
$Name = "$module:$Name"

[tool.setuptools]
py-modules = ["$module"]

[tool.pytest.ini_options]
pythonpath = ["."]

[tool.ruff]
line-length = 110
"""

README = """
# $package

The block `$Name` for voxstack. Four steps from here:

1. Install it into the environment that has voxstack, and run its test:

   ```sh
   pip install --no-deps -e .
   python -m pytest
   ```

2. Make it yours: options, ports and arithmetic stand in `$module.py`, what they must do in
   `test_$module.py`. Change the test with the block.

3. $heard

4. Put it into the `stack` of an addon, and hold the addon to its contract with `voxstack check`:

   ```json
   $entry
   ```
"""
