"""The book: notebooks paired, executed and recorded, pages assembled and built into a static site."""
