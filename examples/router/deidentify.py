"""De-identification for RESEARCH: dicognito makes new names, dates and UIDs, the same for the same patient each
time."""

import os
import sys

from dicognito.anonymizer import Anonymizer
from pydicom import Dataset

# An image that is sent again must get the same UIDs.
_anonymizer = Anonymizer(seed=os.environ.get("ROUTER_SEED") or sys.exit("ROUTER_SEED has to be set, see the README"))


def deidentify(dataset: Dataset) -> Dataset:
    """Change a data set in place. Pixels, and text that is burned into them, stay as they are."""
    _anonymizer.anonymize(dataset)
    return dataset
