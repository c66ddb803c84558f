"""Pushing: everything in one commit, so that a repository is never half of anything.

Weights travel first and are not visible; the commit that follows names them all, or there is none.  What was sent
already is not sent again, so a push that was cut off is repeated as a whole.
"""

import re
import shlex
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from .card import named_card, write_card
from .contents import CARD, FACT_FILES, PICTURES, component_folders, pipeline_files, published_bytes, space_files
from .retry import repeat

PROGRAM = "ncsn hub"


def push_folder(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    retries: int = 5,
    wait: float = 1.0,
    timeout: float = 120.0,
) -> str:
    """Pushes a pipeline folder and its card, written first if there is none, to a model repository of the Hub.

    The repository is made if it does not exist.  Only what belongs to the pipeline goes there (see `contents`); files
    of an earlier push that the pipeline no longer has are deleted by the same commit.

    Args:
        folder: as `NCSNPipeline.save_pretrained` writes it.
        repo_id: `user/name`, or `name` under the token's own account.
        private: whether a repository made here is private; one that exists stays as it is.  To load it without this
            package, log in first: diffusers does not pass `token=` on to the code of a pipeline.
        token: of the Hub; by default the one of `hf auth login`.
        revision: a branch, made if it does not exist; by default `main`.
        commit_message: by default one that says what this is.
        retries: how often a transient failure (5xx, cut connection, timeout) is tried again, >= 0.
        wait: seconds before the second try; doubled for each one after it, at most 30.
        timeout: seconds that the Hub may be silent within one request.

    Returns:
        The address of the commit.

    Raises:
        ValueError: for a folder, name or number that cannot be right, before anything is sent.
        PushError: if the Hub refuses, or is not reached after all tries.
    """
    check_repo_id(repo_id)
    contents = _pipeline_contents(Path(folder).expanduser())
    folders = [f"{re.escape(name)}/.*" for name in component_folders(folder)]
    owned = "|".join([*folders, r"pipeline_\w+\.py", *map(re.escape, (*PICTURES, *FACT_FILES))])
    return _push(
        contents,
        owned,
        repo_id,
        "model",
        private=private,
        token=token,
        revision=revision,
        message=commit_message or "Upload a score network with its sampler, code and card",
        retries=retries,
        wait=wait,
        timeout=timeout,
        later=f"The model is safe in {folder}. Push it later by:\n"
        f"    {push_command(folder, repo_id, private=private, revision=revision)}",
    )


def push_space(
    space_id: str,
    *,
    root: str | Path | None = None,
    private: bool = False,
    token: str | None = None,
    retries: int = 5,
    wait: float = 1.0,
    timeout: float = 120.0,
) -> str:
    """Pushes the page as a Gradio Space: `app.py`, its requirements, the package and the shipped model.

    Args:
        space_id: `user/name`.
        root: the folder that holds `app.py`; by default that of this package.
        private: whether a Space made here is private.
        token: of the Hub; by default the one of `hf auth login`.
        retries: as for :func:`push_folder`, as are `wait` and `timeout`.
        wait: seconds before the second try.
        timeout: seconds that the Hub may be silent within one request.

    Returns:
        The address of the commit.

    Raises:
        ValueError: for a name that cannot be right or a folder that lacks something.
        PushError: if the Hub refuses, or is not reached after all tries.
    """
    check_repo_id(space_id)
    root = Path(root).expanduser() if root is not None else Path(__file__).resolve().parents[2]
    contents: dict[str, Path | bytes] = dict(space_files(root))
    words = [space_id, "--root", str(root.resolve()), *(["--private"] if private else [])]
    return _push(
        contents,
        "(?:ncsn_pipeline|pretrained)/.*",
        space_id,
        "space",
        private=private,
        token=token,
        revision=None,
        message="Upload the page, its package and its model",
        retries=retries,
        wait=wait,
        timeout=timeout,
        later=f"The Space is as it was. Push it later by:\n    {shlex.join([*PROGRAM.split(), 'push-space', *words])}",
    )


def push_command(folder: str | Path, repo_id: str, *, private: bool = False, revision: str | None = None) -> str:
    """The command that pushes a folder later, from any working directory; the token is not in it."""
    words = [*PROGRAM.split(), "push", str(Path(folder).expanduser().resolve()), repo_id]
    words += ["--private"] if private else []
    words += ["--revision", revision] if revision else []
    return shlex.join(words)


def check_repo_id(repo_id: str) -> None:
    """Refuses what cannot be the name of a repository.

    Raises:
        ValueError: saying what was given and what a name looks like.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is no name of a repository; it looks like user/name. {error}") from error


def _pipeline_contents(folder: Path) -> dict[str, Path | bytes]:
    """Path in the repository -> file, or its content where that differs from the file."""
    if not (folder / CARD).is_file():
        pipeline_files(folder)  # a folder that cannot be pushed gets no card either
        write_card(folder)
    contents: dict[str, Path | bytes] = dict(pipeline_files(folder))
    for name in FACT_FILES:
        if name in contents and (clean := published_bytes(folder / name)) is not None:
            contents[name] = clean
    return contents


def _push(
    contents: dict[str, Path | bytes],
    owned: str,
    repo_id: str,
    repo_type: str,
    *,
    private: bool,
    token: str | None,
    revision: str | None,
    message: str,
    retries: int,
    wait: float,
    timeout: float,
    later: str,
) -> str:
    """One commit of `contents`; deletes what else lies at the paths that match `owned`, a pattern."""
    _refuse_a_token_in(contents, token)
    api = HfApi(token=token, library_name="ncsn_pipeline")
    card = Path(str(contents[CARD])).read_text(encoding="utf-8")
    space = {"space_sdk": "gradio"} if repo_type == "space" else {}

    def attempt() -> str:
        # None, not False: an organisation may make its repositories private by default.
        name = api.create_repo(repo_id, repo_type=repo_type, private=private or None, exist_ok=True, **space).repo_id
        if revision not in (None, "main"):
            api.create_branch(name, branch=revision, repo_type=repo_type, exist_ok=True)
        there = api.list_repo_files(name, repo_type=repo_type, revision=revision)
        if repo_type == "model":
            contents[CARD] = named_card(card, name, revision).encode()
        stale = [path for path in there if re.fullmatch(owned, path) and path not in contents]
        operations = [CommitOperationAdd(path, source) for path, source in contents.items()]
        operations += [CommitOperationDelete(path) for path in stale]
        commit = api.create_commit(name, operations, commit_message=message, repo_type=repo_type, revision=revision)
        return str(commit.commit_url)

    return repeat(attempt, f"Pushing to {repo_id}", retries=retries, wait=wait, timeout=timeout, later=later)


def _refuse_a_token_in(contents: dict[str, Path | bytes], token: str | None) -> None:
    token = token or get_token()
    for name, source in contents.items():
        if not token or name.endswith(".safetensors"):
            continue
        content = source if isinstance(source, bytes) else source.read_bytes()
        if token.encode() in content:
            raise ValueError(f"{name} holds the token itself, which everyone could read there. Take it out first.")
