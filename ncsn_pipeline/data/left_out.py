"""What of a user's data is not used, counted and named, so that nothing is missing without a word."""

_NAMES_SHOWN = 3


class LeftOut:
    """Names of what is left out, by the reason."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, list[str]]] = {}
        self._notes: list[str] = []

    def add(self, reason: str, *names: str) -> None:
        """Counts `names` under `reason`, which is read after a number: "hidden", "not in metadata.csv"."""
        if names:
            count, shown = self._found.get(reason, (0, []))
            self._found[reason] = count + len(names), [*shown, *names][:_NAMES_SHOWN]

    def note(self, sentence: str) -> None:
        """Keeps a whole sentence, once."""
        if sentence not in self._notes:
            self._notes.append(sentence)

    def __str__(self) -> str:
        """`Left out: 2 hidden (._a.png, ._b.png).`, and the notes; empty if everything is used."""
        parts = []
        for reason, (count, shown) in self._found.items():
            more = f" and {count - len(shown)} more" if count > len(shown) else ""
            parts.append(f"{count} {reason} ({', '.join(shown)}{more})")
        return " ".join([*([f"Left out: {'; '.join(parts)}."] if parts else []), *self._notes])


def names_and_more(names: tuple[str, ...], most: int = 12) -> str:
    """`a, b, c`, or the first of them and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
