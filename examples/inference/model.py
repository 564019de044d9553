"""The model and its report, which run in worker processes. Replace `measure` by your own model."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence

import highdicom as hd
import numpy as np
from highdicom import sr
from pydicom import Dataset, config, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

MANUFACTURER, MODEL, VERSION = "aiodimse", "mean attenuation", "1"


def begin() -> None:
    """Begin a worker process. It ignores Ctrl-C, which the service handles, and ends if the service was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # pydicom would log invalid values in full, and they are patient data.
    config.settings.reading_validation_mode = config.IGNORE

    def end_with_parent() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def measure(images: Sequence[Dataset]) -> float:
    """Return the mean attenuation of a CT series, in Hounsfield units."""
    means = [
        float(np.mean(image.pixel_array)) * float(image.RescaleSlope) + float(image.RescaleIntercept)
        for image in images
    ]
    return sum(means) / len(means)


def analyze(paths: Sequence[str]) -> bytes:
    """Measure the images of one series.

    Returns:
        A DICOM file with a Comprehensive SR. Its SOP Instance UID is derived from the images, so that a report that is
        made again after a crash is the same instance.
    """
    images = [dcmread(path) for path in paths]
    report = _report(images, measure(images))
    file = io.BytesIO()
    report.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _report(images: Sequence[Dataset], value: float) -> Dataset:
    """Make a Measurement Report (PS3.16 TID 1500)."""
    series = images[0].SeriesInstanceUID
    uids = sorted(image.SOPInstanceUID for image in images)
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=_uid("device"), manufacturer_name=MANUFACTURER, model_name=MODEL
    )
    observer = sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=_uid("tracking", series), identifier="whole series"),
        measurements=[
            sr.Measurement(
                name=codes.DCM.AttenuationCoefficient,
                value=round(value, 2),
                unit=codes.UCUM.HounsfieldUnit,
                derivation=codes.SCT.Mean,
            )
        ],
        source_images=[sr.SourceImageForMeasurementGroup.from_source_image(image) for image in images],
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=[group],
    )
    return sr.ComprehensiveSR(
        evidence=list(images),
        content=content,
        series_instance_uid=_uid("series", series),
        series_number=9000,
        sop_instance_uid=_uid("report", *uids),
        instance_number=1,
        manufacturer=MANUFACTURER,
        series_description=MODEL,
        is_complete=True,
        is_final=True,
    )


def _uid(*sources: str) -> hd.UID:
    return hd.UID(generate_uid(entropy_srcs=[MODEL, VERSION, *sources]))
