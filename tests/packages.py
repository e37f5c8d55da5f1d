"""Packages outside clickflow: their modules and what an installer records of them, in a folder that Python imports from."""

import importlib
import sys

from clickflow.models import entry_points

CACHES = (entry_points.models_of_packages, entry_points.config_class, entry_points._validator)


class Packages:
    """A folder of installed packages, which this process sees for as long as a test lasts."""

    def __init__(self, folder):
        self.folder = folder
        self.names = set()

    def install(self, distribution, points, version="1.0", **modules):
        """Install a distribution with entry points (name -> value) and modules (name -> code)."""
        record = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (record / "entry_points.txt").write_text("\n".join([f"[{entry_points.GROUP}]", *lines, ""]))
        for name, code in modules.items():
            (self.folder / f"{name}.py").write_text(code, encoding="utf-8")
        self.names |= set(modules)
        self.look_again()

    def look_again(self):
        importlib.invalidate_caches()
        for cached in CACHES:
            cached.cache_clear()

    def forget(self):
        for name in self.names:
            sys.modules.pop(name, None)
        self.look_again()
