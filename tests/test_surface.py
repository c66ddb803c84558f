"""What `import ncsn_pipeline` gives, and that it costs nothing until something is asked for."""

import importlib
import json
import sys

import pytest

import ncsn_pipeline
from tests.processes import run


def test_the_top_level_has_at_most_thirty_names():
    assert len(ncsn_pipeline.__all__) == len(set(ncsn_pipeline.__all__)) <= 30
    assert ncsn_pipeline.__all__ == sorted(ncsn_pipeline.__all__)


@pytest.mark.parametrize("name", ncsn_pipeline.__all__)
def test_every_name_is_that_of_its_folder(name):
    folder = importlib.import_module(f"ncsn_pipeline.{ncsn_pipeline._FOLDER_OF[name]}")
    assert getattr(ncsn_pipeline, name) is getattr(folder, name)
    assert name in dir(ncsn_pipeline)


def test_folders_are_reached_by_name_and_nothing_else_is():
    import ncsn_pipeline.diagnostics

    assert ncsn_pipeline.diagnostics.sliced_wasserstein.__module__.startswith("ncsn_pipeline.diagnostics")
    with pytest.raises(AttributeError, match="no attribute 'sliced_wasserstein'"):
        ncsn_pipeline.sliced_wasserstein  # noqa: B018
    with pytest.raises(ImportError):
        from ncsn_pipeline import nothing  # noqa: F401


@pytest.mark.parametrize(
    "module, absent",
    [
        ("ncsn_pipeline", {"torch", "diffusers", "numpy", "matplotlib"}),
        # What only some settings need: data sets, measures of quality.
        ("ncsn_pipeline.training.train", {"sklearn", "torchmetrics", "matplotlib", "pandas", "datasets", "gradio"}),
        ("ncsn_pipeline.training.distill", {"sklearn", "torchmetrics", "matplotlib", "pandas", "datasets", "gradio"}),
    ],
)
def test_importing_loads_no_library_that_need_not_be_there(repo_root, module, absent):
    program = f"import json, sys, {module}; print(json.dumps(list(sys.modules)))"
    loaded = json.loads(run([sys.executable, "-c", program], cwd=repo_root).stdout)
    assert module in loaded
    assert not absent & set(loaded)
