"""How `pytest -n` shares the tests out: files stay whole, what takes longest starts first, and a worker may die.

pytest-xdist's own `loadgroup` writes its groups into the names of the tests, which pytest 9 keeps elsewhere, so that it
groups nothing; and it gives the test that ended a worker to the next one, or waits for ever.
"""

from xdist.scheduler import LoadScopeScheduling

# Folders whose files share what is slow to start: the page's server and a browser, the Hub's clients.
WHOLE = ("tests/space/", "tests/hub/")
# What takes long, in the order in which it starts; the others follow.
LONG = (
    *WHOLE,
    "tests/train/",
    "tests/lecture/",
    "tests/test_commands.py",
    "tests/pipelines/",
    "tests/test_pretrained.py",
    "tests/data/",
)


# The page's tests take half of the time: from this file on a second worker has them, with a server of its own.
HALF = "tests/space/test_l"


def group_of(nodeid: str) -> str:
    """What stays together on one worker: a file, all files of a folder, or those of one half of the page's."""
    name = nodeid.partition("::")[0]
    folder = next((folder for folder in WHOLE if name.startswith(folder)), name)
    return HALF if folder == "tests/space/" and name >= HALF else folder


def place_of(nodeid: str) -> int:
    """Where a test stands in the queue: 0 for the tests of style, then what takes long."""
    name = nodeid.partition("::")[0]
    if name == "tests/test_architecture.py":
        return 0
    return next((place for place, start in enumerate(LONG, 1) if name.startswith(start)), len(LONG) + 1)


class GroupScheduling(LoadScopeScheduling):
    """Whole groups to each worker, in the order of collection."""

    def __init__(self, config, log=None):
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid):
        return group_of(nodeid)

    def remove_node(self, node):
        """What a worker that died leaves goes to others, without the test that it died of; the name of that test."""
        groups = self.assigned_work.pop(node)
        crashed = next((name for tests in groups.values() for name, done in tests.items() if not done), None)
        if crashed is None:
            return None
        for group, tests in groups.items():
            left = {name: done for name, done in tests.items() if not done and name != crashed}
            if left:
                self.workqueue[group] = left
        for other in self.assigned_work:
            self._reschedule(other)
        return crashed

    def schedule(self):
        """Also after a worker was replaced; when nothing is left to give out, workers run their last test and end."""
        super().schedule()
        if not self.workqueue:
            for node in self.nodes:
                if not node.shutting_down:
                    node.shutdown()
