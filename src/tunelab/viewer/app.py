"""The viewer's addresses. Each answer is read off the store when it is asked for."""

from __future__ import annotations

import mimetypes
from collections.abc import Collection
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tunelab.errors import StoreError
from tunelab.viewer import live
from tunelab.viewer.curves import SERIES, Curves
from tunelab.viewer.detail import StepDetail, read_detail
from tunelab.viewer.files import Outside, StoreFiles
from tunelab.viewer.graph import lay_out
from tunelab.viewer.guard import Guard
from tunelab.viewer.pages import render
from tunelab.viewer.runs import Run, read_runs
from tunelab.viewer.states import Seen, StepState, look

REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads allow-popups; default-src 'none'; img-src data: 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""For pages of a report, which bring a stricter policy of their own. The sandbox makes each an origin by itself, so
that even one that somebody else wrote into the store cannot read the viewer's pages or send anything anywhere."""
STATIC = {"base.css": ("tunelab.report", "templates/style.css")} | {
    name: ("tunelab.viewer", f"static/{name}") for name in ("view.css", "view.js", "icon.svg")
}


def guarded_app(store: Path, token: str, hosts: Collection[str]) -> ASGIApp:
    """Return the application over a store, for those who know the token and ask one of ``hosts`` (with their port)."""
    return Guard(_Viewer(StoreFiles(store)).app(), token, hosts)


class _Viewer:
    def __init__(self, files: StoreFiles) -> None:
        self._files = files
        self._curves = Curves()

    def app(self) -> Starlette:
        routes = [
            Route("/", self._studies),
            Route("/live", self._studies_live),
            Route("/study/{name}", self._study),
            Route("/study/{name}/live", self._study_live),
            Route("/step/{kind}/{slug}", self._step),
            Route("/step/{kind}/{slug}/live", self._step_live),
            Route("/report/{name}/{path:path}", self._report),
            Route("/static/{name}", self._static),
        ]
        return Starlette(routes=routes, exception_handlers=HANDLERS)

    def _studies(self, request: Request) -> Response:
        runs, problems = read_runs(self._files)
        rows = [_row(run, look(run, self._files, runs.values())) for run in runs.values()]
        return _page(request, "studies.html.j2", rows=rows, problems=problems, **self._studies_now(runs))

    def _studies_live(self, request: Request) -> Response:
        return JSONResponse(self._studies_now(read_runs(self._files)[0]))

    def _studies_now(self, runs: dict[str, Run]) -> dict[str, Any]:
        pieces: live.Pieces = {}
        for run in runs.values():
            pieces |= live.study_row(run, look(run, self._files, runs.values()))
        again = live.SOON if any(run.alive for run in runs.values()) else live.LATER
        return {"live": pieces, "shape": live.shape(sorted(runs)), "again": again}

    def _study(self, request: Request) -> Response:
        run, seen = self._found(request)
        return _page(
            request,
            "study.html.j2",
            run=run,
            seen=seen,
            states=[state.value for state in StepState],
            graph=lay_out(run.steps),
            labels={s.step.name: s.label for s in seen},
            series=SERIES,
            trains=[s for s in seen if s.step.kind == "train"],
            scores=[s for s in seen if s.step.kind == "score"],
            **self._study_now(run, seen),
        )

    def _study_live(self, request: Request) -> Response:
        return JSONResponse(self._study_now(*self._found(request)))

    def _study_now(self, run: Run, seen: list[Seen]) -> dict[str, Any]:
        return {
            "live": live.study_pieces(run, seen, self._files, self._curves),
            "shape": live.shape([run.started, *(s.step.name for s in seen)]),
            "again": live.SOON if run.alive else live.LATER,
        }

    def _found(self, request: Request) -> tuple[Run, list[Seen]]:
        runs, _ = read_runs(self._files)
        run = runs.get(request.path_params["name"])
        if run is None:
            raise HTTPException(404)
        return run, look(run, self._files, runs.values())

    def _step(self, request: Request) -> Response:
        detail = self._detail(request)
        return _page(request, "step.html.j2", detail=detail, series=SERIES, **self._step_now(detail))

    def _step_live(self, request: Request) -> Response:
        return JSONResponse(self._step_now(self._detail(request)))

    def _step_now(self, detail: StepDetail) -> dict[str, Any]:
        pieces = live.step_pieces(detail.seen) | live.curve_pieces(detail.seen, self._files, self._curves)
        again = live.SOON if detail.alive else live.LATER
        return {"live": pieces, "shape": live.shape([detail.seen.state, str(len(detail.attempts))]), "again": again}

    def _detail(self, request: Request) -> StepDetail:
        kind, slug = request.path_params["kind"], request.path_params["slug"]
        detail = read_detail(self._files, f"{kind}/{slug}")
        if detail is None:
            raise HTTPException(404)
        return detail

    def _report(self, request: Request) -> Response:
        """Serve a file that the record of a study's report lists, and no other."""
        _, seen = self._found(request)
        found = next((s for s in seen if s.step.kind == "report" and s.record), None)
        path = request.path_params["path"] or "index.html"
        if found is None or found.record is None or path not in found.record.files:
            raise HTTPException(404)
        content = self._files.inside(self._files.step(found.name) / path).read_bytes()
        media = mimetypes.guess_type(path)[0] or "application/octet-stream"
        return Response(content, media_type=media, headers={"content-security-policy": REPORT_POLICY})

    def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            raise HTTPException(404)
        package, place = STATIC[name]
        media = mimetypes.guess_type(name)[0]
        return Response(resources(package).joinpath(place).read_bytes(), media_type=media)


def _row(run: Run, seen: list[Seen]) -> dict[str, Any]:
    return {"run": run, "report": live.report_of(seen)}


def _page(request: Request, template: str, **values: Any) -> HTMLResponse:
    return HTMLResponse(render(template, base=request.scope["root_path"], **values))


def _absent(request: Request, error: Exception) -> Response:
    return _refused(request, "Nothing here by that name", 404)


def _outside(request: Request, error: Exception) -> Response:
    return _refused(request, f"A link that leads out of the store is not followed: {error}", 404)


def _damaged(request: Request, error: Exception) -> Response:
    return _refused(request, str(error), 500)


def _failed(request: Request, error: Exception) -> Response:
    """A bug, whose traceback goes to the terminal."""
    return _refused(request, f"The viewer failed: {type(error).__name__}; its terminal says more", 500)


def _refused(request: Request, what: str, status: int) -> Response:
    return HTMLResponse(render("refused.html.j2", base=request.scope["root_path"], what=what), status)


HANDLERS = {
    HTTPException: _absent,
    FileNotFoundError: _absent,
    Outside: _outside,
    StoreError: _damaged,
    Exception: _failed,
}
