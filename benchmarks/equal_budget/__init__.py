"""Networks and ablations trained with the same budget and compared: ``make compare``."""
