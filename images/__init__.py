"""Image banks: every visual token of a set of images, with its words, to be searched the other way round."""
