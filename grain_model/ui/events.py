"""What the events of the page share: the queues that they wait in, and who sees them."""

MODEL_QUEUE = "model"
"""Events that count one micrograph wait in this queue, and are told their place in it."""

REDRAW_QUEUE = "redraw"
"""What changes a count or how it is shown waits here, so that each finds what the one before it has made of it."""

FILES_QUEUE = "files"
"""What writes more files of a count waits in this one, which nothing that is clicked or drawn waits for."""

BATCH_QUEUE = "batch"
"""Batches wait in this one; between two files of a batch others have their turn."""

PRIVATE = {"api_visibility": "private"}
"""Of an event that programs do not see; what they may call is in `endpoints`."""
