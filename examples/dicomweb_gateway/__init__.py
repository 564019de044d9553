"""A DICOMweb front for an archive that speaks DIMSE alone."""
