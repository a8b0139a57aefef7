"""Neural style transfer: to a whole picture (Gatys et al.), or to one kind of object in it (Shinke et al.)."""
