"""Converts Pixel Data to another compression or to none, frame by frame, with the same values (PS3.5 8.2, A.4).

`datasets/transcoding.py` re-encodes data sets between uncompressed transfer syntaxes. Codecs run in processes of their
own (`processes.py`), because data that a peer compressed may crash them; the rest of the library never imports them.
"""
