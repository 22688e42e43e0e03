"""A page on this machine: drop a picture, choose scale and network, compare, download.

It is served to this machine alone, in one file without anything from elsewhere.
"""

import socket
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from isr_pipeline import weights
from isr_pipeline.errors import ProjectError
from isr_pipeline.inference.encoded import largest_source, upscale_encoded
from isr_pipeline.inference.models import (
    CHAMPION,
    better_shipped,
    champions,
    find_champion,
    is_no_better_than_bicubic,
    project_folder,
)
from isr_pipeline.inference.upscaler import Upscaler

if TYPE_CHECKING:
    from fastapi import FastAPI

ADDRESS = "127.0.0.1"
PAGE = Path(__file__).with_name("page.html")
LARGEST_FILE = 256 * 2**20
"""Uploads of more bytes are refused while they come in."""


def serve(port: int, maximum_megapixels: float) -> None:
    """Show the page until interrupted.

    Args:
        port: of this machine.
        maximum_megapixels: pictures of more are refused, and results of more than four times as
            many.

    Raises:
        ProjectError: when the extra is not installed or the port is taken.
    """
    try:
        import uvicorn
    except ImportError:
        raise ProjectError("isr serve is not installed: pip install 'isr_pipeline[page]'") from None
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise ProjectError(
                f"port {port} cannot be used ({error.strerror}): choose another with --port"
            ) from None
    app = create_app(project_folder(), maximum_megapixels)
    server = uvicorn.Server(uvicorn.Config(app, host=ADDRESS, port=port, log_level="warning"))
    app.state.is_stopping = lambda: server.should_exit
    print(f"http://{ADDRESS}:{port} (Ctrl+C ends it)", flush=True)
    with suppress(KeyboardInterrupt):  # which the server has answered
        server.run()


def create_app(folder: Path, maximum_megapixels: float) -> "FastAPI":
    """The page and the two questions that it asks.

    Args:
        folder: where a champion is looked for.
        maximum_megapixels: see `serve`.

    Its `state.is_stopping` says whether the server is about to end: no picture is finished then.
    """
    from fastapi import FastAPI, Request, Response
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import ClientDisconnect

    app = FastAPI(openapi_url=None)
    # Another site's script could reach this address under a name of its own.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[ADDRESS, "localhost"])

    app.state.is_stopping = lambda: False
    opening = Lock()

    @lru_cache(maxsize=2)
    def opened(network: str, scale: int, degradation: str, file: str, written: float) -> Upscaler:
        return Upscaler(network, scale, degradation)

    def upscaler(network: str, scale: int, degradation: str) -> Upscaler:
        file, written = "", 0.0
        champion = find_champion(folder, scale, degradation) if network == CHAMPION else None
        if champion and isinstance(champion.model, Path):  # another one, or its export, is opened
            file, written = str(champion.model), champion.model.stat().st_mtime
        with opening:
            return opened(network, scale, degradation, file, written)

    def offered() -> list[dict[str, Any]]:
        return available_networks(folder)

    def refusal(reason: str, status: int) -> Response:
        return Response(reason, status, media_type="text/plain")

    @app.get("/")
    def page() -> Response:
        return Response(PAGE.read_text(), media_type="text/html", headers=HEADERS)

    @app.get("/networks")
    def networks() -> list[dict[str, Any]]:
        return offered()

    @app.post("/upscale")
    async def upscale(request: Request, network: str, degradation: str, scale: int) -> Response:
        origin = request.headers.get("origin")
        if origin is not None and origin != f"{request.url.scheme}://{request.url.netloc}":
            return refusal("only the page itself may ask", 403)
        wanted = {"network": network, "degradation": degradation}
        if not any(n.items() >= wanted.items() and scale in n["scales"] for n in offered()):
            return refusal("there is no such network: choose one of the list", 400)
        data = bytearray()
        try:
            async for chunk in request.stream():
                data += chunk
                if len(data) > LARGEST_FILE:
                    return refusal(f"the file is larger than {LARGEST_FILE >> 20} MiB", 413)
        except ClientDisconnect:  # the page was closed midway
            return refusal("the upload broke off", 400)

        def work() -> bytes:
            chosen = upscaler(network, scale, degradation)
            most = largest_source(maximum_megapixels, scale)
            return upscale_encoded(bytes(data), chosen, most, is_stopped=app.state.is_stopping)

        try:
            return Response(await run_in_threadpool(work), media_type="image/png")
        except ProjectError as error:
            return refusal(str(error), 400)

    return app


HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
        "img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
    ),
    "Cache-Control": "no-store",
}
"""The browser itself refuses whatever is not from here."""


def available_networks(folder: Path) -> list[dict[str, Any]]:
    """What can be chosen: `network`, `degradation`, `scales` and a `label` each, the best first."""
    own: list[tuple[str, str, list[int]]] = []
    beaten: list[tuple[str, str, list[int]]] = []
    places: dict[tuple[str, str], str] = {}
    for champion, scales in champions(folder):
        shown = 2 if 2 in scales else scales[0]
        is_beaten = better_shipped(champion, shown) or is_no_better_than_bicubic(champion, shown)
        key = CHAMPION, str(champion.degradation)
        (beaten if is_beaten else own).append((*key, scales))
        others = f"{places[key]} and " if key in places else " of "
        places[key] = f"{others}{champion.environment}"
    order = {name: place for place, name in enumerate(weights.DEFAULT_ORDER)}
    cards = sorted(
        weights.available(),
        # Pictures from the wild come first: they are what people drop.
        key=lambda card: (card.degradation != "realistic", order.get(card.name, len(order))),
    )
    shipped = [(card.name, card.degradation, card.scales) for card in cards]
    # Sets of one scale each are one choice.
    merged: dict[tuple[str, str], set[int]] = {}
    for name, degradation, scales in [*own, *shipped, *beaten]:
        merged.setdefault((name, degradation), set()).update(scales)
    return [
        {
            "network": name,
            "degradation": degradation,
            "scales": sorted(scales),
            "label": f"{name}{places.get((name, degradation), '')}, for {degradation} pictures",
        }
        for (name, degradation), scales in merged.items()
    ]
