"""The page's own routes: its files, and what it asks for."""

from importlib import resources

from towers.serving.http.keys import Scope
from towers.serving.http.routes import Call, Reply, Route
from towers.serving.page import messages as said
from towers.serving.page.page import K_MOST, Page

_FILES = {
    "/": ("index.html", b"text/html; charset=utf-8", "The page for people"),
    "/page/page.css": ("page.css", b"text/css; charset=utf-8", "How it looks"),
    "/page/page.js": ("page.js", b"text/javascript; charset=utf-8", "What it does"),
    "/page/icon.svg": ("icon.svg", b"image/svg+xml", "Its picture in a browser's tab"),
}


def page_routes(page: Page) -> list[Route]:
    """Return the routes of a page."""
    return [*map(_file, _FILES), *_people(page), *_videos(page), *_service(page)]


def _file(path: str) -> Route:
    name, kind, summary = _FILES[path]
    content = resources.files("towers.serving.page").joinpath("static", name).read_bytes()

    async def handle(_call: Call) -> Reply:
        return Reply(content, kind=kind)

    return Route(method="GET", path=path, scope=None, handle=handle, summary=summary)


def _people(page: Page) -> list[Route]:
    return [
        Route(
            method="GET",
            path="/v1/page/users/{user_id}",
            scope=Scope.write,
            handle=page.user,
            summary="For people: a user's history, what would be shown, and why",
            reply=said.PageUser,
            faults=(400, 503),
            numbers={"k": K_MOST},
        ),
        Route(
            method="GET",
            path="/v1/page/somebody",
            scope=Scope.write,
            handle=page.somebody,
            summary="For people: a user to try the page with",
            reply=said.PageSomebody,
        ),
    ]


def _videos(page: Page) -> list[Route]:
    return [
        Route(
            method="GET",
            path="/v1/page/videos/{video_id}",
            scope=Scope.read,
            handle=page.similar,
            summary="For people: a video and the videos most like it",
            reply=said.PageSimilar,
            faults=(400, 404, 503),
            numbers={"k": K_MOST},
        ),
        Route(
            method="GET",
            path="/v1/page/map",
            scope=Scope.read,
            handle=page.map,
            summary="For people: where the most watched videos lie; what is alike lies together",
            reply=said.PageMap,
        ),
    ]


def _service(page: Page) -> list[Route]:
    return [
        Route(
            method="POST",
            path="/v1/page/access",
            scope=None,
            handle=page.access,
            summary="For people: whether keys are needed, and what a key may do",
            body=said.PageKey,
            reply=said.PageAccess,
            faults=(400, 408, 413),
        ),
        Route(
            method="GET",
            path="/v1/page/live",
            scope=Scope.read,
            handle=page.live,
            summary="For people: what was counted since the start, and the state of now",
            reply=said.PageLive,
        ),
        Route(
            method="GET",
            path="/v1/page/versions",
            scope=Scope.read,
            handle=page.versions,
            summary="For people: all versions, and how each was judged",
            reply=said.PageVersions,
        ),
    ]
