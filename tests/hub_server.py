"""A Hub on loopback: what the real clients of huggingface_hub and diffusers ask for, with repositories in memory.

    with running_hub() as hub:                                          # in a test
        subprocess.run(..., env=os.environ | client_environment(hub.url, tmp_path / "home", WRITER))
    python tests/hub_server.py --port 8123                              # on its own

Models, data sets and Spaces; private and missing ones; branches and commits; regular files and LFS, whose content lies
behind a redirect as on the Hub.  `hub.fail(stage, kind)` makes one request, or every one, of that stage fail.

The client reads HF_ENDPOINT when it is imported, so it lives in another process; with Xet off: LFS is spoken here.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

WRITER, READER, STRANGER = "hf_writer", "hf_reader", "hf_stranger"
# token -> (account, whether it may write)
TOKENS = {WRITER: ("user", True), READER: ("user", False), STRANGER: ("stranger", True)}
OWNER = "user"

STAGES = (
    "whoami create branch validate preupload lfs-batch lfs-put lfs-verify commit info tree resolve-head resolve-get "
    "content other"
).split()
KINDS = ("error", "cut", "cut-body", "cut-response", "slow")
LFS_SUFFIXES = (".safetensors", ".png", ".bin")
FOLDER_OID = "0" * 40


def client_environment(url: str, home: str | Path, token: str | None = None) -> dict[str, str]:
    """What a client process needs in its environment to talk to this Hub only, with a cache of its own."""
    settings = {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "OMP_NUM_THREADS": "1",
    }
    return settings | ({"HF_TOKEN": token} if token else {})


@dataclass(frozen=True)
class Blob:
    """The content of a file; large ones are named by their sha256, others as git does."""

    data: bytes
    lfs: bool

    @property
    def oid(self) -> str:
        if self.lfs:
            return hashlib.sha256(self.data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()


@dataclass(frozen=True)
class Commit:
    """All files of a repository at one moment."""

    oid: str
    files: dict[str, Blob]
    message: str


@dataclass
class Repository:
    """Branches, each a list of commits, oldest first."""

    name: str
    kind: str
    private: bool
    branches: dict[str, list[Commit]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit("main", {".gitattributes": Blob(b"*.safetensors filter=lfs\n", False)}, "initial commit")

    def commit(self, branch: str, files: dict[str, Blob], message: str) -> Commit:
        earlier = self.branches.setdefault(branch, [])
        seed = f"{self.kind}{self.name}{branch}{len(earlier)}{sorted((p, b.oid) for p, b in files.items())}"
        earlier.append(Commit(hashlib.sha1(seed.encode()).hexdigest(), files, message))
        return earlier[-1]

    @property
    def head(self) -> Commit:
        return self.branches["main"][-1]

    def at(self, revision: str) -> Commit | None:
        if revision in self.branches:
            return self.branches[revision][-1]
        return next((c for commits in self.branches.values() for c in commits if c.oid == revision), None)


@dataclass
class Fault:
    """What goes wrong at a stage, `times` times, or always (None), for one repository or all."""

    stage: str
    kind: str
    repo: str | None = None
    path: str | None = None
    times: int | None = 1
    status: int = 503
    seconds: float = 0.0


class Refused(Exception):
    """An answer that is an error of the Hub."""

    def __init__(self, status: int, code: str | None, message: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.response = JSONResponse({"error": message}, status, headers=headers)


class HubServer:
    """The application, with its repositories, stored objects, faults and the list of what was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[tuple[str, str], bytes] = {}  # of each repository, by sha256
        self.unverified: dict[tuple[str, str], bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str | None, str]] = []  # stage, repository, path
        self.routes: list[tuple[str, re.Pattern, str, Callable]] = [
            (method, re.compile(pattern), stage, handler)
            for method, pattern, stage, handler in (
                ("GET", r"/api/whoami-v2", "whoami", self.whoami),
                ("GET", r"/api/agent-harnesses", "other", self.nothing),
                ("POST", r"/api/repos/create", "create", self.create),
                ("GET", rf"{API}/auth-check/write", "other", self.auth_check),
                ("POST", r"/api/validate-yaml", "validate", self.validate),
                ("POST", rf"{API}/preupload/(?P<rev>[^/]+)", "preupload", self.preupload),
                ("POST", rf"{API}/commit/(?P<rev>[^/]+)", "commit", self.commit),
                ("POST", rf"{API}/branch/(?P<rev>[^/]+)", "branch", self.branch),
                ("GET", rf"{API}/tree/(?P<rev>[^/]+)(?:/(?P<path>.*))?", "tree", self.tree),
                ("GET", rf"{API}(?:/revision/(?P<rev>[^/]+))?", "info", self.info),
                ("POST", rf"{FILES}\.git/info/lfs/objects/batch", "lfs-batch", self.lfs_batch),
                ("PUT", r"/lfs/(?P<repo>[^/]+/[^/]+)/(?P<oid>\w+)", "lfs-put", self.lfs_put),
                ("POST", r"/lfs/(?P<repo>[^/]+/[^/]+)/(?P<oid>\w+)/verify", "lfs-verify", self.lfs_verify),
                ("HEAD", rf"{FILES}/resolve/(?P<rev>[^/]+)/(?P<path>.+)", "resolve-head", self.resolve),
                ("GET", rf"{FILES}/resolve/(?P<rev>[^/]+)/(?P<path>.+)", "resolve-get", self.resolve),
                ("HEAD", r"/content/(?P<repo>[^/]+/[^/]+)/(?P<oid>\w+)", "content", self.content),
                ("GET", r"/content/(?P<repo>[^/]+/[^/]+)/(?P<oid>\w+)", "content", self.content),
            )
        ]

    def repository(self, name: str, kind: str = "model") -> Repository:
        """A repository, for a test to look at."""
        return self.repositories[kind, name]

    def files(self, name: str, kind: str = "model", revision: str = "main") -> dict[str, bytes]:
        """Path -> content at a revision."""
        return {path: blob.data for path, blob in self.repository(name, kind).at(revision).files.items()}

    def fail(self, stage: str, kind: str, **options: object) -> Fault:
        """Adds a fault; see :class:`Fault` for the options."""
        if stage not in STAGES or kind not in KINDS:
            raise ValueError(f"stage must be one of {STAGES} and kind one of {KINDS}; got {stage!r} and {kind!r}.")
        self.faults.append(Fault(stage, kind, **options))
        return self.faults[-1]

    # The application

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        path = scope["raw_path"].decode()
        found = ((pattern.fullmatch(path), *rest) for method, pattern, *rest in self.routes if method == request.method)
        match, stage, handler = next((entry for entry in found if entry[0]), (None, "", None))
        if match is None:
            await JSONResponse({"error": f"no {request.method} {path} here"}, 404)(scope, receive, send)
            return
        parts = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
        fault = await self.planned(stage, parts, request)
        transport = send.__self__.transport  # uvicorn's own: the only way to cut a connection
        if fault and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        if fault and fault.kind == "cut":
            transport.abort()
            await asyncio.sleep(0)  # so that uvicorn knows before this returns
            return
        if fault and fault.kind == "error":
            response = Response("<html>upstream is not available</html>", fault.status, media_type="text/html")
        else:
            try:
                response = await handler(request, **parts)
            except Refused as refused:
                response = refused.response
        if fault and fault.kind == "cut-response":
            transport.abort()
            await asyncio.sleep(0)
        elif fault and fault.kind == "cut-body":
            await self.half(response, send)
        else:
            await response(scope, receive, send)

    async def planned(self, stage: str, parts: dict[str, str], request: Request) -> Fault | None:
        repo = parts.get("repo")
        if stage == "create":
            body = await request.json()
            repo = f"{body.get('organization') or OWNER}/{body['name']}"
        self.requests.append((stage, repo, parts.get("path", "")))
        for fault in self.faults:
            matches = (
                fault.stage == stage and fault.repo in (None, repo) and (fault.path or "") in parts.get("path", "")
            )
            if matches and fault.times != 0:
                fault.times = None if fault.times is None else fault.times - 1
                return fault
        return None

    @staticmethod
    async def half(response: Response, send: Callable) -> None:
        """The head of an answer and half of its body; uvicorn closes the connection of what is not complete."""
        body = bytes(response.body)
        await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await asyncio.sleep(0.05)  # so that the half arrives
        send.__self__.transport.close()

    # Who asks

    def account(self, request: Request) -> tuple[str | None, bool]:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in TOKENS:
            raise Refused(401, None, "Invalid credentials in Authorization header")
        return TOKENS.get(token, (None, False))

    def readable(self, request: Request, repo: str, kind: str) -> Repository:
        account, _ = self.account(request)
        found = self.repositories.get((kind, repo))
        if found is None or (found.private and account != repo.split("/")[0]):
            raise Refused(404 if account else 401, "RepoNotFound", "Repository not found")
        return found

    def writer(self, request: Request, namespace: str) -> None:
        account, may_write = self.account(request)
        if account is None:
            raise Refused(401, None, "Invalid username or password.")
        if not may_write or account != namespace:
            raise Refused(403, None, f"You don't have the rights to write to the namespace {namespace!r}")

    def writable(self, request: Request, repo: str, kind: str) -> Repository:
        found = self.readable(request, repo, kind)
        self.writer(request, repo.split("/")[0])
        return found

    @staticmethod
    def commit_at(repository: Repository, revision: str) -> Commit:
        found = repository.at(revision)
        if found is None:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found

    # Writing

    async def whoami(self, request: Request) -> Response:
        account, may_write = self.account(request)
        if account is None:
            raise Refused(401, None, "Invalid username or password.")
        role = {"role": "write" if may_write else "read", "displayName": "test"}
        return JSONResponse({"type": "user", "name": account, "orgs": [], "auth": {"accessToken": role}})

    async def nothing(self, request: Request) -> Response:
        return JSONResponse({})

    async def create(self, request: Request) -> Response:
        body = await request.json()
        account, _ = self.account(request)
        namespace = body.get("organization") or account
        self.writer(request, namespace)
        kind, name = body.get("type") or "model", f"{namespace}/{body['name']}"
        answer = {"url": f"{self.url}/{'' if kind == 'model' else kind + 's/'}{name}"}
        if (kind, name) in self.repositories:
            return JSONResponse(answer | {"error": "You already created this repo"}, 409)
        private = body.get("private", body.get("visibility") == "private")
        self.repositories[kind, name] = Repository(name, kind, private)
        return JSONResponse(answer)

    async def auth_check(self, request: Request, kind: str, repo: str) -> Response:
        self.writable(request, repo, kind)
        return JSONResponse({})

    async def branch(self, request: Request, kind: str, repo: str, rev: str) -> Response:
        found = self.writable(request, repo, kind)
        if rev in found.branches:
            raise Refused(409, None, "Reference already exists")
        found.branches[rev] = list(found.branches["main"])
        return JSONResponse({})

    async def validate(self, request: Request) -> Response:
        content = (await request.json())["content"]
        return (
            JSONResponse({"errors": [], "warnings": []})
            if content.startswith("---\n")
            else JSONResponse({"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]})
        )

    async def preupload(self, request: Request, kind: str, repo: str, rev: str) -> Response:
        there = self.commit_at(self.writable(request, repo, kind), rev).files
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LFS_SUFFIXES) else "regular",
                "shouldIgnore": False,
                "oid": there[file["path"]].oid if file["path"] in there else None,
            }
            for file in (await request.json())["files"]
        ]
        return JSONResponse({"files": files})

    async def lfs_batch(self, request: Request, repo: str, kinds: str = "models/") -> Response:
        self.writable(request, repo, kinds.removesuffix("s/"))
        objects = []
        for entry in (await request.json())["objects"]:
            answer = {"oid": entry["oid"], "size": entry["size"]}
            if (repo, entry["oid"]) not in self.objects:
                href = f"{self.url}/lfs/{repo}/{entry['oid']}"
                answer["actions"] = {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}
            objects.append(answer)
        return JSONResponse({"transfer": "basic", "objects": objects})

    async def lfs_put(self, request: Request, repo: str, oid: str) -> Response:
        data = await request.body()
        if hashlib.sha256(data).hexdigest() != oid:
            raise Refused(400, None, "The content does not have the announced sha256")
        self.unverified[repo, oid] = data
        return Response(status_code=200)

    async def lfs_verify(self, request: Request, repo: str, oid: str) -> Response:
        if (repo, oid) not in self.unverified:
            raise Refused(404, None, f"LFS object {oid} was not uploaded")
        self.objects[repo, oid] = self.unverified[repo, oid]
        return Response(status_code=200)

    async def commit(self, request: Request, kind: str, repo: str, rev: str) -> Response:
        found = self.writable(request, repo, kind)
        files, header = dict(self.commit_at(found, rev).files), {}
        for line in (await request.body()).splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                header = value
            elif entry["key"] == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), False)
            elif entry["key"] == "lfsFile":
                if (repo, value["oid"]) not in self.objects:
                    raise Refused(400, None, f"LFS object {value['oid']} of {value['path']} was not uploaded")
                files[value["path"]] = Blob(self.objects[repo, value["oid"]], True)
            elif entry["key"] == "deletedFile":
                if files.pop(value["path"], None) is None:
                    raise Refused(404, "EntryNotFound", "A file with this name doesn't exist")
            elif entry["key"] == "deletedFolder":
                files = {path: blob for path, blob in files.items() if not path.startswith(value["path"])}
        if header.get("parentCommit") not in (None, found.at(rev).oid):
            raise Refused(412, None, "A commit has happened since. Please refresh and try again.")
        made = found.commit(rev, files, header["summary"])
        return JSONResponse({"commitOid": made.oid, "commitUrl": f"{self.url}/{repo}/commit/{made.oid}"})

    # Reading

    async def info(self, request: Request, kind: str, repo: str, rev: str = "main") -> Response:
        found = self.readable(request, repo, kind)
        commit = self.commit_at(found, rev)
        siblings = [{"rfilename": path} for path in sorted(commit.files)]
        return JSONResponse(
            {"id": repo, "modelId": repo, "sha": commit.oid, "private": found.private, "siblings": siblings, "tags": []}
        )

    async def tree(self, request: Request, kind: str, repo: str, rev: str, path: str = "") -> Response:
        files = self.commit_at(self.readable(request, repo, kind), rev).files
        start = f"{path.rstrip('/')}/" if path else ""
        recursive = request.query_params.get("recursive", "").lower() in ("1", "true")
        entries, folders = [], set()
        for name, blob in sorted(files.items()):
            if not name.startswith(start):
                continue
            parents = name.removeprefix(start).split("/")[:-1]
            depth = len(parents) if recursive else min(1, len(parents))
            folders |= {start + "/".join(parents[: i + 1]) for i in range(depth)}
            if recursive or not parents:
                large = {"lfs": {"oid": blob.oid, "size": len(blob.data), "pointerSize": 134}} if blob.lfs else {}
                entries.append({"type": "file", "path": name, "oid": blob.oid[:40], "size": len(blob.data), **large})
        entries += [{"type": "directory", "path": name, "oid": FOLDER_OID, "size": 0} for name in sorted(folders)]
        return JSONResponse(entries)

    async def resolve(self, request: Request, repo: str, rev: str, path: str, kinds: str = "models/") -> Response:
        commit = self.commit_at(self.readable(request, repo, kinds.removesuffix("s/")), rev)
        headers = {"X-Repo-Commit": commit.oid}
        blob = commit.files.get(path)
        if blob is None:
            headers |= {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return Response("Entry not found", 404, headers=headers)
        if blob.lfs:
            headers |= {"X-Linked-Etag": f'"{blob.oid}"', "X-Linked-Size": str(len(blob.data))}
            store = self.url.replace("127.0.0.1", "localhost")  # another host, as on the Hub: no token goes there
            return RedirectResponse(f"{store}/content/{repo}/{blob.oid}", 302, headers=headers)
        return self.ranged(request, blob.data, headers | {"ETag": f'"{blob.oid}"'})

    async def content(self, request: Request, repo: str, oid: str) -> Response:
        return self.ranged(request, self.objects[repo, oid], {"ETag": f'"{oid}"'})

    @staticmethod
    def ranged(request: Request, data: bytes, headers: dict[str, str]) -> Response:
        """All of it, or what `Range: bytes=a-b` asks for; the length alone for HEAD."""
        headers = headers | {"Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if request.method == "HEAD":
            return Response(headers=headers | {"Content-Length": str(len(data))})
        if not wanted:
            return Response(data, headers=headers, media_type="application/octet-stream")
        first, last = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        return Response(data[first : last + 1], 206, headers=headers, media_type="application/octet-stream")


API = r"/api/(?P<kind>model|dataset|space)s/(?P<repo>[^/]+/[^/]+)"
FILES = r"/(?P<kinds>datasets/|spaces/)?(?P<repo>[^/]+/[^/]+?)"


def _configured(hub: HubServer, port: int) -> uvicorn.Server:
    settings = {"host": "127.0.0.1", "port": port, "http": "h11", "ws": "none", "lifespan": "off"}
    return uvicorn.Server(uvicorn.Config(hub, log_level="warning", timeout_graceful_shutdown=1, **settings))


@contextmanager
def running_hub(port: int = 0) -> Iterator[HubServer]:
    """A Hub in a thread of this process; port 0 takes a free one.  Its address is `hub.url`."""
    hub = HubServer()
    server = _configured(hub, port)
    socket = server.config.bind_socket()
    hub.url = f"http://127.0.0.1:{socket.getsockname()[1]}"
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.should_exit = True
        thread.join(10)
        socket.close()


def main() -> None:
    """Serves until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8123)
    options = parser.parse_args()
    hub = HubServer()
    hub.url = f"http://127.0.0.1:{options.port}"
    print(f"HF_ENDPOINT={hub.url} HF_HUB_DISABLE_XET=1 HF_TOKEN={WRITER}", flush=True)
    _configured(hub, options.port).run()


if __name__ == "__main__":
    main()
