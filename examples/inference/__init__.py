"""Receives images, measures each series when it is complete, and stores a DICOM SR in an archive."""
