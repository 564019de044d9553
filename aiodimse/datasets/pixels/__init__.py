"""Pixel Data in another compression, or in none, frame by frame, with the same values (PS3.5 8.2, A.4).

To re-encode a data set between uncompressed transfer syntaxes is `datasets/transcoding.py`. Codecs run in processes of
their own (`processes.py`), for what a peer compressed may crash them: nothing else of the library imports them.
"""
