"""The results of one file can be compared with each other, and none is lost without a word."""

import json

import pytest
import torch

from ncsn_pipeline.evaluation.results import add_result, read_results
from ncsn_pipeline.fingerprint import fingerprint

NEW = {
    "scheduler": "HeunDiscreteScheduler", "nfe": 4, "steps_per_level": None, "weights": "a", "test_images": "t",
    "num_train_images": 10, "sample_neighbours": {"count": 1000}, "arguments": {"dataset_name": "pics"},
}  # fmt: skip
OTHER = NEW | {"scheduler": "EulerDiscreteScheduler"}
OLD = {name: value for name, value in OTHER.items() if name not in ("weights", "test_images")}


@pytest.mark.parametrize(
    ("stored", "fate"),
    [
        (OTHER, "kept: EulerDiscreteScheduler, 4 evaluations, 1,000 samples, pics"),
        (NEW | {"nfe": 6}, "kept: "),
        (NEW | {"arguments": {"dataset_name": "pics", "guidance_scale": 2.0}}, "kept: "),
        (NEW | {"arguments": {"dataset_name": "more"}, "test_images": "u"}, "kept: "),
        (OLD, "kept, though it does not say of which weights it is: "),
        (NEW | {"sample_neighbours": {"count": 5}}, "replaced: "),
        (NEW | {"weights": "b"}, "replaced: "),
        (OTHER | {"weights": "b"}, "removed, as it is of other weights: "),
        (OTHER | {"test_images": "u"}, "removed, as it is of other images of that name: "),
        (OLD | {"num_train_images": 11}, "removed, as it is of other images of that name: "),
        ({"sampler": "X", "nfe": 1, "num_samples": 7}, "kept, though it does not say of which weights it is: X, 1 "),
    ],
)
@pytest.mark.parametrize("single", [False, True])
def test_what_becomes_of_a_stored_result(stored, fate, single, tmp_path):
    """Of one under "results", and of one that is the file."""
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(stored if single else {"results": [stored]}), encoding="utf-8")
    (line,) = add_result(path, NEW)
    assert line.startswith(fate)
    assert read_results(path) == [*([stored] if fate.startswith("kept") else []), NEW]
    assert [file.name for file in tmp_path.iterdir()] == ["evaluation.json"]


@pytest.mark.parametrize("content", ["half {", "[1]", '{"results": [1]}', '{"results": 1}'])
def test_a_file_that_holds_no_results_is_left_as_it_is(content, tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="Repair it or take it away"):
        add_result(path, NEW)
    assert path.read_text(encoding="utf-8") == content


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8, torch.bool])
def test_a_fingerprint_sees_each_value(dtype):
    tensor = torch.ones(3, 4, dtype=dtype)
    other = tensor.clone()
    other[2, 3] = 0
    assert fingerprint([tensor]) == fingerprint([tensor.clone().T.contiguous().T]) != fingerprint([other])
    assert fingerprint([torch.tensor(1.0)]) != fingerprint([])
