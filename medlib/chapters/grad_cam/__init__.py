"""Does a map of attention or gradient point at what the answer is about?  See notebooks/grad_cam.py."""
