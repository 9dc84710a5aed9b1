"""The one exception that a user is meant to read."""


class CosegError(Exception):
    """A mistake that the user can mend, as a sentence: what is wrong, where, what to do next.

    The commands print the sentence without a traceback and end with exit code 2. Everything else that is
    raised is a defect of the program and keeps its traceback.
    """


def unknown_choice(what: str, value: object, choices: object) -> CosegError:
    """The sentence for a value that is not one of `choices`, e.g. ``unknown_choice("model.pooling", "avg", ["average"])``."""
    from difflib import get_close_matches

    names = [str(choice) for choice in choices]  # type: ignore[attr-defined]
    nearest = get_close_matches(str(value), names, n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return CosegError(f"{what} is '{value}', but must be one of: {', '.join(names)}.{hint}")
