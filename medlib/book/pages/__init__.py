"""The pages that are written when the book is assembled, from records, tables and measurements: a file each.

Each has `write(folder, ...)`, which writes the pieces that pages of `book/` include; what they are written in is
markdown.py.
"""
