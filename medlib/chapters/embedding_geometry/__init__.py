"""How do the clouds of image tokens and of text tokens lie, and what does a block do to them?"""
