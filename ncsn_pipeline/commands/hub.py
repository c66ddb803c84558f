"""Pushes a trained model or the page to the Hub, or writes a model card.

ncsn hub push runs/mnist user/mnist-ncsn --private
ncsn hub card runs/mnist
ncsn hub push-space user/ncsn
"""

import argparse
import sys
from collections.abc import Sequence

from ..errors import in_one_line
from . import user_path

PROGRAM = "ncsn hub"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `None` reads `sys.argv`."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--private", action="store_true", help="make a private repository, if there is none yet")
    shared.add_argument("--token", help="of the Hub (default: HF_TOKEN, or the one of `hf auth login`)")
    shared.add_argument("--retries", type=int, default=5, help="tries after a transient failure (default: %(default)s)")
    shared.add_argument(
        "--timeout", type=float, default=120.0, help="seconds that the Hub may be silent (default: %(default)g)"
    )
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Push a model or the page to the Hub, or write a card.")
    commands = parser.add_subparsers(dest="command", required=True)
    push = commands.add_parser("push", parents=[shared], help="push a pipeline folder and its card")
    push.add_argument("folder", type=user_path, help="as `save_pretrained` or the training script writes it")
    push.add_argument("repo", help="user/name")
    push.add_argument("--revision", help="a branch, made if it does not exist (default: main)")
    card = commands.add_parser("card", help="write README.md of a pipeline folder from the JSON files in it")
    card.add_argument("folder", type=user_path, help="as `save_pretrained` or the training script writes it")
    space = commands.add_parser("push-space", parents=[shared], help="push the page, its package and its model")
    space.add_argument("space", help="user/name")
    space.add_argument("--root", type=user_path, help="the folder that holds app.py (default: that of this package)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, 1 after a push that failed, or 2 after something that could not be right."""
    options = parse_arguments(arguments)
    from ..hub import PushError, push_folder, push_space, write_card

    try:
        if options.command == "card":
            print(write_card(options.folder))
            return 0
        shared = {name: getattr(options, name) for name in ("private", "token", "retries", "timeout")}
        if options.command == "push":
            print(push_folder(options.folder, options.repo, revision=options.revision, **shared))
        else:
            print(push_space(options.space, root=options.root, **shared))
    except PushError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"{PROGRAM}: error: {in_one_line(error)}", file=sys.stderr)
        return 2
    return 0
