"""For hosts in tests: MineDojo through its own launch script, with a stub `java` that starts the stand-in. `launched:make`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

JAVA = """#!/bin/bash
port=$(sed -n "s/.*portOverride=//p" config/malmomodCLIENT.cfg)
exec {python} -u {stand_in} -port "$port" -env
"""
XVFB = '#!/bin/bash\nshift 3\nexec "$@"\n'


def make(**kwargs):
    """The real launchClient.sh runs, on a copy of MineDojo's Minecraft folder that holds an empty jar where the mod's would be."""
    import minedojo.sim.bridge.mc_instance.instance as instance
    from rlgpt_hosting.minedojo import MineDojo

    folder = Path(tempfile.mkdtemp(prefix="rlgpt-minedojo-"))
    game, programs = folder / "Minecraft", folder / "bin"
    shutil.copytree(instance.MC_DIR, game)
    (game / "build" / "libs").mkdir(parents=True, exist_ok=True)
    (game / "build" / "libs" / "MalmoMod-0.37.0-fat.jar").touch()
    programs.mkdir()
    stand_in = Path(__file__).with_name("stand_in.py")
    for name, text in (("java", JAVA.format(python=os.environ["STAND_IN_PYTHON"], stand_in=stand_in)), ("xvfb-run", XVFB)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    instance.MC_DIR = str(game)
    os.chdir(folder)  # MineDojo writes its logs where it is
    sys.stderr.write(f"launching from {folder}\n")
    return MineDojo(**kwargs)
