"""Does a layer's cloud of states fall onto few directions, and do a few huge dimensions make it look so?"""
