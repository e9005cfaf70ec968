"""Data sets and models as they come: a wheel, folder, file or hub id in; checked files out."""
