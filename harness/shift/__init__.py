"""Dataset shift: corrupted copies of images (Hendrycks & Dietterich, ICLR 2019)."""
