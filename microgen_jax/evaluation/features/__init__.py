"""Features of images by pretrained networks, and distances between sets of them."""
