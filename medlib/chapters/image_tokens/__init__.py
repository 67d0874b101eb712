"""Which words do image tokens hold?"""
