"""`python .../envs/hosting slot FD` and `python .../envs/hosting serve ...`, also where rlgpt is not installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Import this folder under a name of its own, since its files are not to be found as top-level modules, and run what was asked."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
    name = "rlgpt_hosting"
    spec = importlib.util.spec_from_file_location(name, HERE / "__init__.py", submodule_search_locations=[str(HERE)])
    if spec is None or spec.loader is None or sys.argv[1:2] not in (["slot"], ["serve"]):
        sys.exit(f"usage: {sys.argv[0]} slot FD | serve ENVIRONMENT [options]")
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)
    importlib.import_module(f"{name}.{sys.argv[1]}").main(sys.argv[2:])


if __name__ == "__main__":
    main()
