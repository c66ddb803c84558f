"""To the Hub: which files of a pipeline folder go there, the model card, and the push.

    contents    the allow-list of a pipeline folder and of the Space, and what of a JSON file may be read by everyone
    facts       what the JSON files beside the weights say about a model
    fingerprints  which of its evaluations are of the weights that are there
    card        the model card made of these facts, with its `card_tables` and `citations`
    push        one commit for everything
    retry       again after a transient failure, a clear error after any other

`ncsn hub` is the command.  Loading is the business of `NCSNPipeline.from_pretrained`.
"""

from .card import write_card
from .push import push_command, push_folder, push_space
from .retry import PushError

__all__ = ["PushError", "push_command", "push_folder", "push_space", "write_card"]
