"""The typed check of a composed configuration: what each number, switch and word of it may be."""
