"""What is lost when a block is taken out?"""
