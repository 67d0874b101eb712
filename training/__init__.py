"""The small model of image and text that this book embeds: how it is built, trained and measured.

A vision tower of CLIP's architecture and LLaVA's projector are trained here, on the pictures of medlib/scans, in front
of the frozen language model of the zoo.  It is an instrument for the methods: of each of its pictures the truth is
known.  It has seen one average brain and painted lesions, so it is no medical device, knows no disease, and is not
LLaVA-Med, whose code path it takes.
"""
