"""Writers of the disk layouts that the readers read: drawn data sets for the tests."""
