"""Running a test: pairs, groups, partial results on disk, and what it leaves."""
