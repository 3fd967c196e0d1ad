"""All routes."""

from typing import TYPE_CHECKING

from towers.serving.http import endpoints as do
from towers.serving.http import messages as said
from towers.serving.http.document import document
from towers.serving.http.keys import Scope
from towers.serving.http.metrics import KIND
from towers.serving.http.routes import Call, Reply, Route
from towers.serving.page.page import Page
from towers.serving.page.routes import page_routes

if TYPE_CHECKING:
    from towers.serving.http.app import App

_ASKED, _TOLD = (400, 503), (400, 413, 503)


def routes(app: "App") -> list[Route]:
    """Return all routes of an app, those that are asked most first."""
    return [*_hot(), *_videos(), *_people(), *_bundle(), *_around(app), *_page(app)]


def _hot() -> list[Route]:
    return [
        Route(
            method="POST",
            path="/v1/candidates",
            scope=Scope.read,
            handle=do.candidates,
            summary="The best videos for a user, as of now",
            body=said.CandidatesRequest,
            reply=said.CandidatesReply,
            faults=(*_TOLD, 408),
        ),
        Route(
            method="POST",
            path="/v1/events",
            scope=Scope.write,
            handle=do.events,
            summary="Keep what users watched and were shown; it counts in the next answer",
            body=said.EventIn | said.Events,
            reply=said.EventsReply,
            faults=(*_TOLD, 408),
        ),
    ]


def _videos() -> list[Route]:
    return [
        Route(
            method="PUT",
            path="/v1/videos",
            scope=Scope.write,
            handle=do.put_videos,
            summary="Show videos from now on",
            body=said.VideoIn | said.Videos,
            reply=said.VideosReply,
            faults=(*_TOLD, 408),
        ),
        Route(
            method="DELETE",
            path="/v1/videos/{video_id}",
            scope=Scope.write,
            handle=do.remove_video,
            summary="Show a video no more",
            faults=_ASKED,
        ),
        Route(
            method="GET",
            path="/v1/videos/{video_id}/similar",
            scope=Scope.read,
            handle=do.similar,
            summary="The videos most like one",
            reply=said.SimilarReply,
            faults=(*_ASKED, 404),
            numbers={"k": do.K_SIMILAR},
        ),
        Route(
            method="POST",
            path="/v1/embeddings/videos",
            scope=Scope.read,
            handle=do.embed_videos,
            summary="The vectors of videos",
            body=said.IdsRequest,
            reply=said.VectorsReply,
            faults=(*_TOLD, 404, 408),
        ),
    ]


def _people() -> list[Route]:
    return [
        Route(
            method="POST",
            path="/v1/embeddings/users",
            scope=Scope.read,
            handle=do.embed_users,
            summary="The vectors of users as the bundle knows them",
            body=said.IdsRequest,
            reply=said.VectorsReply,
            faults=(*_TOLD, 404, 408),
        ),
        Route(
            method="GET",
            path="/v1/users/{user_id}",
            scope=Scope.write,
            handle=do.user,
            summary="All that is known of a person",
            reply=said.UserReply,
            faults=_ASKED,
        ),
        Route(
            method="DELETE",
            path="/v1/users/{user_id}",
            scope=Scope.write,
            handle=do.erase_user,
            summary="Forget a person, everywhere and at once",
            faults=_ASKED,
        ),
    ]


def _bundle() -> list[Route]:
    return [
        Route(
            method="GET",
            path="/v1/bundle",
            scope=Scope.read,
            handle=do.bundle,
            summary="What is served",
            reply=said.BundleReply,
        ),
        Route(
            method="POST",
            path="/v1/bundle",
            scope=Scope.admin,
            handle=do.adopt,
            summary="Serve another version, between two requests; one that is not as it was published is refused",
            body=said.VersionRequest,
            reply=said.BundleReply,
            faults=(*_TOLD, 408, 409),
        ),
        Route(
            method="POST",
            path="/v1/bundle/rollback",
            scope=Scope.admin,
            handle=do.roll_back,
            summary="Serve the version before",
            reply=said.BundleReply,
            faults=(503, 409),
        ),
    ]


def _around(app: "App") -> list[Route]:
    async def metrics(call: Call) -> Reply:
        return Reply(await app.metrics.text(call.service), kind=KIND)

    async def openapi(_call: Call) -> Reply:
        return Reply(document(app.routes, keyed=app.keys is not None))

    return [
        Route(
            method="GET",
            path="/healthz",
            scope=None,
            handle=do.alive,
            summary="Whether the process answers",
            reply=said.Alive,
        ),
        Route(
            method="GET",
            path="/readyz",
            scope=None,
            handle=do.ready,
            summary="Whether requests are answered",
            reply=said.Ready,
        ),
        Route(method="GET", path="/metrics", scope=None, handle=metrics, summary="Numbers for Prometheus"),
        Route(method="GET", path="/openapi.json", scope=None, handle=openapi, summary="This document"),
    ]


def _page(app: "App") -> list[Route]:
    return page_routes(Page(app.metrics, app.keys))
