"""The user tower as machine code: what a request runs in place of torch. Numba comes with the first tower opened."""

FORMS = {
    "recency": "recency",
    "mean": "mean",
    "attention": "pooling",
    "gru": "gru",
    "transformer": "transformer",
    "gated": "gated",
    "hstu": "hstu",
}
"""Of each kind of history encoder the module here whose `last_states_of` gives its last states from what it learned.
Requests to towers of any other kind go through torch. The two must give the same to 1e-5:
tests/contracts/test_last_states.py asks it of every encoder, and `publish` of every bundle."""
