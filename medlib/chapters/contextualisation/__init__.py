"""How far does a picture reach into the states of the tokens behind it, and how picture-specific do layers become?"""
