"""llama.cpp's own quantizer, in a process of its own: it takes all cores, and whatever becomes of it concerns
no model that is served."""
