"""The user tower as machine code: what a request runs in place of torch. Numba comes with the first tower opened."""
