"""A process beside the tests that speaks to the Hub: one JSON request a line on stdin, one JSON answer on stdout.

The libraries read HF_ENDPOINT when they are imported, which takes seconds; so one such process does many things.
With `--without-package`, `ncsn_pipeline` cannot be imported in it: what it loads, it loads as anyone would.
"""

import contextlib
import io
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

ABSENT = "--without-package"


class Client:
    """The other end of the pipe: `client.push(folder=..., repo_id=...)` returns what the process answers.

    Args:
        environment: of the process, from `hub_server.client_environment`.
        folder: its working directory.
        package: whether `ncsn_pipeline` can be imported there.
    """

    def __init__(self, environment: dict[str, str], folder: Path, *, package: bool) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        self._command = [sys.executable, *([] if package else ["-I"]), Path(__file__).resolve()]
        self._command += [] if package else [ABSENT]
        self._log = folder / f"client-{'installed' if package else 'bare'}.log"
        self._options = {"env": kept | environment, "cwd": folder, "stdin": PIPE, "stdout": PIPE, "text": True}
        self._running = contextlib.ExitStack()
        self._process = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends the process."""
        self._process = None
        self._running.close()

    def __getattr__(self, name):
        return lambda **arguments: self.several([{"do": name, **arguments}])[0]

    def _start(self) -> None:
        """Starts the process, also in the place of one that has gone."""
        from tests.processes import started  # the process itself cannot import it where it has no package

        self._running.close()
        errors = self._running.enter_context(self._log.open("a", encoding="utf-8"))
        process = started(self._command, seconds=None, stderr=errors, **self._options)
        self._process = self._running.enter_context(process)

    def several(self, requests: list[dict], together: bool = False) -> list[dict]:
        """Answers in order; `together` asks for all at the same time.

        Raises:
            RuntimeError: if the process has gone.
            Ended: if it gave no answer in time, with its stacks.
        """
        from tests.processes import SECONDS, Ended, time_limit

        if self._process is None or self._process.poll() is not None:
            self._start()
        try:
            with time_limit(self._process.mark, SECONDS):
                self._process.stdin.write(json.dumps({"together": together, "requests": requests}) + "\n")
                self._process.stdin.flush()
                line = self._process.stdout.readline()
        except Ended as ended:
            raise Ended(f"no answer to {requests}: {ended}\n{self._log.read_text(encoding='utf-8')[-9000:]}") from None
        if not line:
            raise RuntimeError(f"the client has gone:\n{self._log.read_text(encoding='utf-8')[-4000:]}")
        return json.loads(line)


# What the process can do


def push(folder, repo_id, **options):
    from ncsn_pipeline import push_folder

    return push_folder(folder, repo_id, **options)


def push_as(login, **arguments):
    """The same with another token, or none, in the environment."""
    with logged_in(login):
        return push(**arguments)


def push_to(endpoint, **arguments):
    """The same to another address, as if HF_ENDPOINT had named it."""
    from huggingface_hub import constants

    before, constants.ENDPOINT = constants.ENDPOINT, endpoint
    try:
        return push(**arguments)
    finally:
        constants.ENDPOINT = before


def command(arguments):
    """`ncsn hub` without the import: exit code and what it printed."""
    from ncsn_pipeline.commands.hub import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return [code, out.getvalue(), err.getvalue()]


def start_push(folder, repo_id, **options):
    """The push in a process of its own, to be killed; its number."""
    from tests.processes import forked

    return forked(lambda: push(folder, repo_id, **options))


def end(number):
    """Waits for such a process; the signal that ended it, or 0."""
    return os.WTERMSIG(os.waitpid(number, 0)[1])


def cannot_import_the_package():
    try:
        import ncsn_pipeline
    except ImportError:
        return True
    return ncsn_pipeline.__file__


@contextlib.contextmanager
def logged_in(token):
    """As after `hf auth login`, or with None as nobody."""
    before = os.environ.pop("HF_TOKEN", None)
    os.environ |= {"HF_TOKEN": token} if token else {}
    try:
        yield
    finally:
        os.environ.pop("HF_TOKEN", None)
        os.environ |= {"HF_TOKEN": before} if before else {}


def load_as(login, **arguments):
    """:func:`load` with another token, or none, in the environment."""
    with logged_in(login):
        return load(**arguments)


def load(model, custom, steps=5, seed=3, save_to=None, scheduler=None, **options):
    """Loads a pipeline, draws two images, saves it again where that is asked for; pixels and class names."""
    import diffusers
    import torch

    if custom:
        pipe = diffusers.DiffusionPipeline.from_pretrained(model, trust_remote_code=True, **options)
    else:
        from ncsn_pipeline import NCSNPipeline

        pipe = NCSNPipeline.from_pretrained(model, **options)
    if scheduler:
        name, settings = scheduler
        pipe.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config, **settings)
    if save_to:
        pipe.save_pretrained(save_to)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(seed)
    images = pipe(2, generator=generator, num_inference_steps=steps, output_type="pt").images
    return {
        "images": images.tolist(),
        "pipeline": f"{type(pipe).__module__}.{type(pipe).__name__}",
        "scheduler": type(pipe.scheduler).__name__,
    }


def load_network(model, file, name, **options):
    """The network alone, by its code in the repository; its answer to a fixed input."""
    import torch
    from diffusers.utils.dynamic_modules_utils import get_class_from_dynamic_module

    where = {"subfolder": "unet", **options}
    network_class = get_class_from_dynamic_module(
        model, module_file=file, class_name=name, trust_remote_code=True, **where
    )
    return _scores(network_class.from_pretrained(model, **where).eval(), torch)


def load_own_network(model, **options):
    """The same by the installed class."""
    import torch

    from ncsn_pipeline import ScoreUNet

    return _scores(ScoreUNet.from_pretrained(model, subfolder="unet", **options).eval(), torch)


def _scores(network, torch):
    side = network.config.sample_size
    x = torch.linspace(-1, 1, side * side).reshape(1, 1, side, side)
    with torch.no_grad():
        return network(x, torch.tensor(0.5)).sample.tolist()


def load_scheduler(model, name, **options):
    """A scheduler of the installed package alone; its ladder."""
    import ncsn_pipeline

    scheduler = getattr(ncsn_pipeline, name).from_pretrained(model, subfolder="scheduler", **options)
    scheduler.set_timesteps(5)
    return scheduler.timesteps.tolist()


def snapshot(repo_id, to, **options):
    from huggingface_hub import snapshot_download

    return snapshot_download(repo_id, local_dir=to, **options)


def run(code, folder):
    """Runs a snippet as pasted, in a folder; the names it leaves."""
    os.chdir(folder)
    names = {}
    exec(compile(code, "<snippet>", "exec"), names)
    return sorted(name for name in names if not name.startswith("__"))


def answer(request: dict) -> dict:
    """What one request gives, or the error that it ends with."""
    request = dict(request)
    try:
        return {"value": globals()[request.pop("do")](**request)}
    except Exception as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"error": str(error), "kinds": kinds}


def main() -> None:
    """Answers until stdin ends; what libraries print goes to stderr."""
    if ABSENT in sys.argv:
        sys.modules["ncsn_pipeline"] = None  # however it is installed, importing it is an ImportError
    pipe, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        batch = json.loads(line)
        if batch["together"]:
            with ThreadPoolExecutor(len(batch["requests"])) as pool:
                answers = list(pool.map(answer, batch["requests"]))
        else:
            answers = [answer(request) for request in batch["requests"]]
        print(json.dumps(answers), file=pipe, flush=True)


if __name__ == "__main__":
    main()
