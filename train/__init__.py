"""Training, synthetic micrographs, pseudo labels and evaluation of the grain model: `python -m train`."""
