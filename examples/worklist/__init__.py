"""A modality worklist from a SQL table, the performed procedure steps of modalities, and the availability of images."""
