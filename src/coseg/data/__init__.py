"""From files to batches: catalogs, readers, pairs, augmentation, the data module."""
