"""The one kind of error that a person can put right."""


class InputError(ValueError):
    """Something given cannot be used. The message is one sentence: what is wrong, what to do."""
