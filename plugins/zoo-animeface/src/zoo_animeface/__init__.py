"""Photo to anime face: CartoonGAN, AnimeGAN, the landmark loss and its detector (Chikazawa, Ryukoku University)."""
