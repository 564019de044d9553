"""A modality worklist from an SQL table, the performed procedure steps of modalities, and the availability of
images."""
