"""Do the stages of a disease run along a line or in a ring?"""
