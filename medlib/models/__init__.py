"""Models: the zoo as data, and how one is found, unpacked and loaded."""
