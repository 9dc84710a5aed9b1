"""Files: written completely, checked, locked, and read as plain data. Without torch, but for `torch_file`."""
