"""How long a training must be until its error is small, by factors of 2."""

import pytest

from ncsn_pipeline.lecture.one_sigma import LEARNED, shortest_training


@pytest.mark.parametrize(
    ("enough", "tried", "found"),
    [
        (2000, [2000], (2000, True)),  # 1,000 are too few: doubled until they are enough
        (4000, [2000, 4000], (4000, True)),
        (8001, [2000, 4000, 8000], (8000, False)),  # not within the longest training
        (1000, [500], (1000, True)),  # 1,000 are enough: halved as long as they stay so
        (500, [500, 250], (500, True)),
        (2, [500, 250, 125, 62, 31, 15, 7, 3, 1], (3, True)),
        (0, [500, 250, 125, 62, 31, 15, 7, 3, 1], (1, True)),
    ],
)
def test_the_shortest_training_is_found_by_factors_of_2(enough, tried, found):
    trainings = []

    def error_after(num_steps):
        trainings.append(num_steps)
        return LEARNED if num_steps >= enough else 1.01 * LEARNED

    error = error_after(1000)
    assert shortest_training(error_after, error, 1000, 8000) == found
    assert trainings == [1000, *tried]
