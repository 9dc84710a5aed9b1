"""Readers: one file for each disk layout; each makes catalogs."""
