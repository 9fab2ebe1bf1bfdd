"""Every choice of quantization changed alone."""
