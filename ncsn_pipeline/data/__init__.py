"""Images to learn from: a Hub name, a folder, Parquet files, or the built-in handwritten digits.

Training, noise levels and evaluation see data through :func:`load_images`, which holds a data set in memory as bytes
(MNIST takes 47 MB, CIFAR-10 154 MB), or, where it is larger than that, through :func:`stream_images`.  Read in this
order:

    decoding    one picture, whatever its file holds, to bytes; what could not be read is counted
    listing     what lies in a folder
    layout      its parts and classes, by the folders in it
    pictures    its pictures as a table of paths, with what metadata files say
    tables      its Parquet files and others
    columns     which column holds the pictures, which the classes
    labels      a column of a table to class numbers
    sources     where the pictures are, all of the above together
    images      a data set in memory
    streaming   a data set that is read as it is used
    batches     endless batches of a stream, which resume after any of them
"""

from .batches import StreamBatches
from .images import ImageData, load_images, load_train_and_held_out, to_range
from .selection import Selection
from .sources import DIGITS
from .streaming import ImageStream, stream_images, stream_train_and_held_out

__all__ = [
    "DIGITS",
    "Selection",
    "ImageData",
    "to_range",
    "load_images",
    "load_train_and_held_out",
    "ImageStream",
    "stream_images",
    "stream_train_and_held_out",
    "StreamBatches",
]
