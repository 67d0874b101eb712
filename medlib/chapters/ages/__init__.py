"""Is age a line in the model, and does it break at 18?"""
