"""Pulls the studies of a list of accession numbers from an archive that has C-MOVE but not C-GET."""
