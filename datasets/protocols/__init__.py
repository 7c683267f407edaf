"""Label-split protocols, one per file: which training images are labelled, which are unlabelled."""
