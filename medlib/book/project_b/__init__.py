"""The page of project B: what it published, beside the recorded runs of the same measures on our model."""
