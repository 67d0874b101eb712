"""Does the model know what it is asked?"""
