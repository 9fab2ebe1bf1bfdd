"""Every format on corrupted images and on sets from outside."""
