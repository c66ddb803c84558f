"""What a command says of an error: one line, whoever raised it."""

LONGEST = 700  # characters; errors of this package are shorter


def in_one_line(error: BaseException) -> str:
    """The words of an error; of another library's many, the first, and the last sentence: what is to be done."""
    words = " ".join(str(error).split())
    if len(words) <= LONGEST:
        return words
    return f"{words[: LONGEST // 2].rpartition(' ')[0]} [...] {words[-LONGEST // 3 :].partition('. ')[2]}".strip()
