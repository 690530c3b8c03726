"""Speech separation: one recording of several voices in, one recording per voice out."""
