"""Sources of images, a file a kind: each lists its images as a `Catalogue` without keeping any."""
