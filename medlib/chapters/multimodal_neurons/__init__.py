"""Which MLP units carry from the picture to the answer?"""
