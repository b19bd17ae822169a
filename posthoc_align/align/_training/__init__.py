"""Maps trained by gradient: what is minimised, in which form, by which steps."""
