"""Checkpoints to resume from, and the pipeline folder: written beside, sealed, then renamed into place.

A checkpoint is sealed by `manifest.json`, which holds size and SHA-256 of every other file in it.  Files and folders
are flushed to the disk before the rename: what stands under a checkpoint's name was written whole, and whether the disk
kept it so, the sums tell.
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from ..pipelines import NCSNPipeline
from .distributed import broadcast_from_main, in_every_process
from .run_config import RunConfig
from .run_record import PROGRESS, RunRecord

logger = logging.getLogger("train")

PREFIX, LEFT, MANIFEST, LOCK = "checkpoint-", "left-", "manifest.json", ".run.lock"
# torch writes in C++ and hides the system's error in one of its own.
TORCH_WRITING = ("inline_container", "PytorchStreamWriter", "iostream error")
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def only_run_in(output_dir: str | Path, accelerator: Accelerator) -> Iterator[None]:
    """Holds the output directory, which is made if need be, for one run; a run that was killed holds it no longer.

    Raises:
        ValueError: while another run holds it.
    """
    lock = FileLock(Path(output_dir, LOCK), timeout=0)
    made = False

    def take() -> None:
        nonlocal made
        made = not Path(output_dir).exists()
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise ValueError(
                f"Another run is writing to {output_dir}. Wait for its end, or choose another output_dir."
            ) from None

    broadcast_from_main(accelerator, take)
    try:
        yield
    finally:
        if made and {path.name for path in Path(output_dir).glob("*")} <= {LOCK}:  # nothing was begun
            shutil.rmtree(output_dir, ignore_errors=True)
        lock.release()


def checkpoints(output_dir: str | Path) -> list[Path]:
    """The checkpoints of a run, oldest first, whole or not."""
    return sorted(filter(is_checkpoint, Path(output_dir).glob(f"{PREFIX}*")), key=step_of)


def is_checkpoint(path: Path) -> bool:
    """Whether a path has the name of a checkpoint."""
    return re.fullmatch(f"{PREFIX}[0-9]+", path.name) is not None


def step_of(checkpoint: Path) -> int:
    """The number of updates after which a checkpoint was written."""
    return int(checkpoint.name[len(PREFIX) :])


def write_manifest(folder: Path) -> None:
    """Writes the manifest of a folder, and everything in it to the disk."""
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        flush(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "sha256": digest}
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=2) + "\n", encoding="utf-8")
    for path in (folder / MANIFEST, *(path for path in folder.rglob("*") if path.is_dir()), folder):
        flush(path)


def flush(path: Path) -> None:
    """Waits until a file or the entries of a folder are on the disk; Windows opens no folder to wait for."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def find_corruption(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, in words; `None` if it is as it was written."""
    try:
        files = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))["files"]
        sizes, sums = ({name: file[key] for name, file in files.items()} for key in ("size", "sha256"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is missing or cannot be read"
    if PROGRESS not in sizes:
        return f"{MANIFEST} does not name {PROGRESS}"
    try:
        for name, size in sizes.items():
            path = checkpoint / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != size:
                return f"{name} has {path.stat().st_size} of {size} bytes"
        for name, digest in sums.items():
            with (checkpoint / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return f"{name} is not what was written: its SHA-256 differs"
    except OSError as error:
        return f"{name} cannot be read: {error}"
    return None


@contextmanager
def report_write_errors(what: str, partial: Path) -> Iterator[None]:
    """Removes what is half-written when a disk refuses more, and says what is left; nobody may be writing any more.

    Raises:
        OSError: saying what could not be written, why, and how to go on.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(name in str(error) for name in TORCH_WRITING):
            raise
        output = partial.parent
        shutil.rmtree(partial, ignore_errors=True)
        whole = [path.name for path in checkpoints(output)]
        reason = str(error).splitlines()[0]
        repair = "Repair that"
        if not isinstance(error, OSError) or error.errno in NO_SPACE:  # the others hide the system's error
            reason += f" ({shutil.disk_usage(output).free / 1e6:,.1f} MB are free in {output})"
            repair = "Make space"
        raise OSError(
            f"{what} could not be written: {reason}. Saved before and still there: "
            f"{', '.join(whole) or 'no checkpoint'}. {repair}, then go on by --resume_from_checkpoint latest."
        ) from error


def save_checkpoint(config: RunConfig, accelerator: Accelerator, record: RunRecord) -> None:
    """Writes `checkpoint-{step}` beside, seals it, renames it into place, then deletes what is beyond the limit.

    Raises:
        OSError: in every process, for a full disk; the checkpoints that it came from are untouched.
    """
    output = Path(config.output_dir)
    partial, final = output / "checkpoint.partial", output / f"{PREFIX}{record.step}"

    def seal() -> None:
        record.write(partial)
        write_manifest(partial)
        # Those beyond this step are of a run that was left when an earlier checkpoint was resumed.  They lose their
        # names first: of a run that is killed in between, the latest is the one that was resumed.
        for path in checkpoints(output):
            if step_of(path) > record.step:
                left = path.with_name(f"{LEFT}{path.name}")
                shutil.rmtree(left, ignore_errors=True)
                path.rename(left)
        put_in_place(partial, final)
        for path in output.glob(f"{LEFT}*"):
            shutil.rmtree(path, ignore_errors=True)

    broadcast_from_main(accelerator, lambda: shutil.rmtree(partial, ignore_errors=True))
    with report_write_errors(final.name, partial):
        in_every_process(accelerator, lambda: accelerator.save_state(str(partial)))
        broadcast_from_main(accelerator, seal)
    if config.checkpoints_total_limit:
        broadcast_from_main(accelerator, lambda: delete(checkpoints(output)[: -config.checkpoints_total_limit]))


def delete(folders: Iterable[Path]) -> None:
    """Deletes folders."""
    for folder in folders:
        shutil.rmtree(folder)


def put_in_place(partial: Path, final: Path) -> None:
    """Renames a folder over another of the same name; between the two renames there is neither."""
    replaced = final.with_name(f"{final.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if final.exists():
        os.replace(final, replaced)
    os.replace(partial, final)
    flush(final.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def find_checkpoint(config: RunConfig) -> Path | None:
    """The checkpoint that `resume_from_checkpoint` names; `None` to start anew.

    `latest` is the newest that is whole; what is wrong with newer ones is logged.

    Raises:
        ValueError: for a checkpoint that is not there or is damaged, or a new run where another's checkpoints are, or
            a model without any.
    """
    wanted, there = config.resume_from_checkpoint, checkpoints(config.output_dir)
    if not there and Path(config.output_dir, NCSNPipeline.config_name).exists():  # a run writes its checkpoint first
        raise ValueError(
            f"{config.output_dir} holds a model, which would be overwritten, and no checkpoint to go on from. Choose "
            "another output_dir; to begin from the model's weights, give its folder as --init_from."
        )
    if wanted is None:
        if there:
            raise ValueError(
                f"{config.output_dir} holds checkpoints of a run. Go on with it by --resume_from_checkpoint latest, or "
                "choose another output_dir."
            )
        return None
    if wanted == "latest":
        return _newest_whole(config.output_dir, there)
    for path in (Path(wanted), Path(config.output_dir, wanted)):
        if path.is_dir() and is_checkpoint(path):
            if there and path.resolve().parent != Path(config.output_dir).resolve():
                raise ValueError(
                    f"{path} is another run's checkpoint, and {config.output_dir} holds {there[-1].name} of its own. "
                    "Go on in that run's folder, or choose an output_dir without checkpoints."
                )
            if problem := find_corruption(path):
                raise ValueError(f"{path} is damaged: {problem}. Choose another, or `latest` for the newest whole one.")
            return path
    names = ", ".join(path.name for path in there) or "none"
    raise ValueError(f"There is no checkpoint {wanted!r}; in {config.output_dir} there are: {names}.")


def _newest_whole(output_dir: str, there: list[Path]) -> Path | None:
    if not there:
        logger.warning("There is no checkpoint in %s yet: starting anew.", output_dir)
        return None
    for path in reversed(there):
        problem = find_corruption(path)
        if problem is None:
            return path
        logger.warning("%s is damaged and passed over for the one before it: %s.", path, problem)
    raise ValueError(
        f"Every checkpoint in {output_dir} is damaged ({', '.join(path.name for path in there)}). Delete them to start "
        "anew, or choose another output_dir."
    )


def save_pipeline(config: RunConfig, pipeline: NCSNPipeline) -> None:
    """Writes the pipeline folder beside the output directory's, then moves each file into place.

    Raises:
        OSError: for a full disk; the files from before are untouched.
    """
    output, beside = Path(config.output_dir), Path(config.output_dir, "pipeline.partial")
    shutil.rmtree(beside, ignore_errors=True)
    with report_write_errors("The pipeline folder", beside):
        pipeline.save_pretrained(beside)
        (beside / "train_config.json").write_text(json.dumps(config.public(), indent=2) + "\n", encoding="utf-8")
        files = [path for path in beside.rglob("*") if path.is_file()]
        for path in files:
            flush(path)
    # The index goes last: it is what makes a folder a pipeline.
    for path in sorted(files, key=lambda path: path.name == pipeline.config_name):
        target = output / path.relative_to(beside)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    shutil.rmtree(beside)
