"""The chapter that merges the others into one map: which tables it reads, whether its layers matter, what it says."""
