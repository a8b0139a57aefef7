"""Facial expression by action units: StarGAN, GANimation, and GANimation with ConvNeXt blocks (Ni)."""
