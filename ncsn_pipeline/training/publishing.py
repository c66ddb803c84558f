"""The pipeline folder of a run on its way to the Hub: allowed before the first step, sent with its card afterwards."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from ..hub import PushError, push_command, push_folder, write_card
from ..hub.push import check_repo_id
from ..hub.retry import repeat
from .run_config import RunConfig

logger = logging.getLogger("train")


def prepare_repository(config: RunConfig) -> str | None:
    """Makes sure, before any training, that the push at its end is allowed: makes the repository if there is none.

    Returns:
        The repository's full name, `user/name`; `None` where nothing is to be pushed.

    Raises:
        ValueError: for a name that cannot be a repository's.
        PushError: for a missing or refused token, an account that may not write there, or a Hub that does not answer.
    """
    if not config.push_to_hub:
        return None
    wanted = config.hub_model_id or Path(config.output_dir).resolve().name
    check_repo_id(wanted)
    api = HfApi(token=config.hub_token)

    def attempt() -> str:
        name = api.create_repo(wanted, private=config.hub_private_repo or None, exist_ok=True).repo_id
        try:
            api.auth_check(name, write=True)
        except HfHubHTTPError as error:
            # A Hub of another make may not offer this question; then the push will tell.
            if isinstance(error, RepositoryNotFoundError) or error.response.status_code != 404:
                raise
        return name

    later = "Training has not begun. Give --hub_token or HF_TOKEN with write access, or another --hub_model_id."
    return repeat(attempt, f"Asking the Hub for {wanted}", retries=3, wait=1.0, timeout=60.0, later=later)


def write_summary(output_dir: str, summary: dict[str, Any]) -> None:
    """Writes `training.json`, the newest grid up to its step as `samples.png`, and the card, into the output folder."""
    folder = Path(output_dir)
    partial = folder / "training.json.partial"
    partial.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(folder / "training.json")
    last = f"step-{summary['steps']:07d}.png"  # beyond it lie those of a run that was left for an earlier checkpoint
    if grids := [path for path in folder.glob("samples/step-*.png") if path.name <= last]:
        shutil.copyfile(max(grids), folder / "samples.png")
    write_card(folder)


def publish(config: RunConfig, repo_id: str, step: int, *, final: bool) -> None:
    """Pushes the pipeline folder; never what lies beside it.

    Args:
        config: settings of the run.
        repo_id: from :func:`prepare_repository`.
        step: number of updates, for the commit's message.
        final: whether training is over; before that it waits for the push, which is tried less often.

    Raises:
        PushError: if the push fails after all retries; the message has the command that pushes later.
    """
    folder, private = config.output_dir, config.hub_private_repo
    options = {} if final else {"retries": 1}
    try:
        address = push_folder(
            folder, repo_id, private=private, token=config.hub_token,
            commit_message=f"Model after {step} training steps", **options,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        command = push_command(folder, repo_id, private=private)
        raise PushError(f"{error}\nThe model is safe in {folder}. Push it later by:\n    {command}") from error
    logger.info("Pushed to %s", address)
