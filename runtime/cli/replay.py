"""`rlgpt replay`: episodes of a run's policy as films."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlgpt.runtime.cli.command import Runs, Which, app, find_run, plain_errors


@app.command()
@plain_errors
def replay(
    which: Which = "latest",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Film this seed (default: one success and one failure, where there are both).")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Held-out episodes to look for a success and a failure in.")] = 20,
    frames: Annotated[int, typer.Option(min=2, max=2000, help="At most so many frames a film, evenly chosen.")] = 300,
    per_s: Annotated[int, typer.Option("--fps", min=1, max=50, help="Frames a second.")] = 20,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Where to write it, .gif or .mp4 (default: the run's videos folder).")
    ] = None,
    runs: Runs = None,
) -> None:
    """Film a finished run's best policy: each frame with the running skill and the state in words. `rlgpt report` carries the films."""
    from rlgpt.runtime import film
    from rlgpt.runtime.cli.evaluate import from_run

    if to is not None and to.suffix.lower() not in film.WRITERS:
        raise film.CannotFilm(f"{to}: a film's name ends in .gif or .mp4")
    name, request, weights = from_run(which, runs)
    held = request.evaluation
    changes = {"episodes": 1, "first_seed": seed} if seed is not None else {"episodes": min(episodes, held.episodes)}
    request = request.model_copy(update={"evaluation": held.model_copy(update=changes)})
    typer.echo(f"{name}: playing {request.evaluation.episodes} held-out episode(s) of {request.environment.id} ...", err=True)
    played = film.play(request, weights, frames)
    chosen = played if seed is not None else film.picked(played)
    with film.camera_for(request) as camera:
        for one in chosen:
            file = to or find_run(which, runs).path / "videos" / f"{one.title}.gif"
            if to is not None and len(chosen) > 1:
                file = to.with_stem(f"{to.stem}_{one.title}")
            film.write(film.shoot(one, frames, camera), file, per_s)
            typer.echo(f"{file}: {'success' if one.played.success else 'failure'}, {one.played.steps} environment steps")
