"""Something to see while the page is on its way: its title, its sentence, and a picture coming out of noise.

Gradio's page begins with some 700 kB of settings, and shows nothing before its scripts have run, which takes a slow
line ten seconds.  So the poster stands before those settings, and the HTML is sent compressed.  It stays until the
parts of the page have found their places, which `page.js` says by `data-composed`; should that fail, for a minute.
"""

import base64
import gzip
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIGMAS = (4.0, 2.0, 1.0, 0.5, 0.25, 0.0)
# In Gradio's head; scripts that read them run when all of the page has come.
SETTINGS = re.compile(rb"<script>window\.gradio_config = .*?</script>(?=\s*<script data-gradio-mode>)", re.DOTALL)
BODY = re.compile(rb"<body[^>]*>")
STYLE = """<style>
#poster { position: absolute; inset: 0 0 auto; max-width: 1176px; margin: 0 auto; padding: 32px; }
#poster { font-family: system-ui, sans-serif; line-height: 1.5; }
#poster b { font-size: 1.7rem; line-height: 1.25; }
#poster img { display: block; width: min(672px, 100%); margin-top: 1.5rem; image-rendering: pixelated; }
body[data-composed] #poster { display: none; }
body:not([data-composed]) .gradio-container { visibility: hidden; animation: composed 0s 60s forwards; }
@keyframes composed { to { visibility: visible; } }
</style>"""


def poster(title: str, sentence: str, picture: Path) -> bytes:
    """The poster, as HTML that needs no other file.

    Args:
        title: of the page.
        sentence: below it.
        picture: any small one.
    """
    with Image.open(picture) as opened:
        clean = np.asarray(opened) / 255
    noise = np.random.default_rng(0).standard_normal((len(SIGMAS), *clean.shape))
    noisy = np.concatenate([clean + sigma * z for sigma, z in zip(SIGMAS, noise, strict=True)], axis=1)
    buffer = io.BytesIO()
    # Sixteen colours: a tenth of a second on a slow line.
    Image.fromarray((255 * np.clip(noisy, 0, 1)).astype(np.uint8)).quantize(16).save(buffer, "PNG", optimize=True)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'{STYLE}<div id="poster"><b>{title}</b><div>{sentence}</div>'
        f'<img src="data:image/png;base64,{encoded}" alt="A picture coming out of noise">'
        "<p>The page is loading …</p></div>"
    ).encode()


class Poster:
    """ASGI middleware that puts the poster into the page, and compresses it where the browser takes that.

    Args:
        app: what serves the page.
        html: the poster.
    """

    def __init__(self, app: Any, html: bytes) -> None:
        self.app = app
        self.html = html

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Passes on what is not the page itself."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            await self.app(scope, receive, send)
            return
        start: dict[str, Any] = {}
        parts: list[bytes] = []

        async def changed(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                headers, body = self._changed(scope, start["headers"], b"".join(parts))
                await send(start | {"headers": headers})
                await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, changed)

    def _changed(self, scope: dict[str, Any], headers: list[Any], body: bytes) -> tuple[list[Any], bytes]:
        named = dict(headers)
        if not named.get(b"content-type", b"").startswith(b"text/html") or b"content-encoding" in named:
            return headers, body
        settings = SETTINGS.search(body)
        later = settings.group() if settings else b""
        body = body.replace(later, b"", 1)
        body = BODY.sub(lambda tag: tag.group() + self.html + later, body, count=1)
        kept = [(name, value) for name, value in headers if name not in (b"content-length", b"vary")]
        if b"gzip" in dict(scope["headers"]).get(b"accept-encoding", b""):
            body = gzip.compress(body, 6)
            kept.append((b"content-encoding", b"gzip"))
        return [*kept, (b"content-length", b"%d" % len(body)), (b"vary", b"accept-encoding")], body
