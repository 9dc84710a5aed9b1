"""Images and masks as arrays: reading, drawing, fonts. Knows nothing of data sets."""
