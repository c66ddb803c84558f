"""Images to learn from: a Hub name, a folder, Parquet files, or the built-in handwritten digits.

Training, noise levels and evaluation see data through :func:`load_images`, which holds a data set in memory as bytes
(MNIST takes 47 MB, CIFAR-10 154 MB), or, where it is larger than that, through :func:`stream_images`.  Read in this
order:

    decoding    one picture, whatever its file holds, to bytes; what could not be read is counted
    labels      a column of a table to class numbers
    sources     where the pictures are
    images      a data set in memory
    streaming   a data set that is read as it is used
    batches     endless batches of a stream, which resume after any of them
"""

from .batches import StreamBatches
from .images import ImageData, load_images, load_train_and_held_out, to_range
from .sources import DIGITS
from .streaming import ImageStream, stream_images, stream_train_and_held_out

__all__ = [
    "DIGITS",
    "ImageData",
    "to_range",
    "load_images",
    "load_train_and_held_out",
    "ImageStream",
    "stream_images",
    "stream_train_and_held_out",
    "StreamBatches",
]
