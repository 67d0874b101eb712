"""Which weights does an answer lean on?"""
