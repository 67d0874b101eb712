"""Do things of one kind lie together?"""
