from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from struct import pack
from zlib import compressobj

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodimse.datasets.dataset import decode_dataset
from aiodimse.datasets.file_meta import file_meta
from aiodimse.datasets.naming import safe_file_name
from aiodimse.datasets.part10 import PartTenReader, open_pieces, read_head
from aiodimse.datasets.saving import PartTenWriter
from aiodimse.errors import DatasetDecodeError, DatasetEncodeError, NotDICOM
from aiodimse.standard.transfer_syntax import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
CT = "1.2.840.10008.5.1.4.1.1.2"
UID = "1.2.826.0.1.3680043.8.498.1"
DATA = b"\x10\0\x20\0LO\4\0A123" * 1000


def comments(text):
    """A sound data set of the same instance, whatever the text: nine Image Comments of four characters."""
    return b"\x20\0\0\x40LT\4\0" + text + b"\x20\0\0\x40LT\4\0".join([b"", *[text] * 8])


# --- reading ----------------------------------------------------------------------------------------------------------


def save(directory, sop_class_uid, sop_instance_uid, transfer_syntax, pieces, **options):
    with PartTenWriter(directory, sop_class_uid, sop_instance_uid, transfer_syntax, **options) as writer:
        return writer.finish(*pieces)


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "JPEG2000.dcm",
        "image_dfl.dcm",
        "MR_small_bigendian.dcm",
        "rtplan.dcm",
        "no_meta_group_length.dcm",
        "dicomdirtests/DICOMDIR",
        "MR_truncated.dcm",
    ],
)
def test_the_head_and_the_data_set_of_a_real_file(name):
    path = FILES / name
    head = read_head(path)
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    meta = dataset.file_meta
    assert head.transfer_syntax == meta.TransferSyntaxUID
    assert head.sop_class_uid == meta.MediaStorageSOPClassUID
    # Where the two differ, in rtplan.dcm, the data set is believed: the receiver of a C-STORE does
    assert head.sop_instance_uid == dataset.get("SOPInstanceUID", meta.MediaStorageSOPInstanceUID)
    raw = path.read_bytes()
    assert head.size == len(raw) - head.data_offset
    for piece_size in (1000, 65_535, 1 << 20):
        pieces = list(open_pieces(head, piece_size))
        assert b"".join(pieces) == raw[head.data_offset :]
        assert {len(piece) for piece in pieces[:-1]} <= {piece_size}
        with PartTenReader(str(path)) as reader:
            assert reader.head == head
            assert list(reader.pieces(piece_size)) == pieces


NOT_DICOM = {
    "README.txt": "not a DICOM file (no DICM prefix)",
    "no_meta.dcm": "not a DICOM file (no DICM prefix)",
    "meta_missing_tsyntax.dcm": "no SOP Class UID",
    "SC_rgb_jpeg.dcm": "its data set is not encoded as its transfer syntax says",
    "nested_priv_SQ.dcm": "no SOP Class UID",
    ".": "not a regular file",
}


@pytest.mark.parametrize(("name", "why"), NOT_DICOM.items())
def test_what_is_not_dicom_says_so_in_one_line(name, why):
    with pytest.raises(NotDICOM) as refused:
        read_head(FILES / name)
    assert str(refused.value) == f"{FILES / name}: {why}"


def test_a_file_that_waits_for_a_writer_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NotDICOM):
        read_head(tmp_path / "fifo")


def test_every_file_cut_in_its_meta_is_not_dicom(tmp_path):
    raw = (FILES / "CT_small.dcm").read_bytes()
    offset = read_head(FILES / "CT_small.dcm").data_offset
    path = tmp_path / "cut"
    for cut in range(offset):
        path.write_bytes(raw[:cut])
        with pytest.raises(NotDICOM):
            read_head(path)
    path.write_bytes(raw[:offset])
    assert read_head(path).size == 0
    assert list(open_pieces(read_head(path))) == []


def test_uids_missing_from_the_meta_are_found_in_the_data_set(tmp_path):
    path = tmp_path / "file"
    meta = file_meta("", "", ExplicitVRLittleEndian)
    path.write_bytes(meta + b"\x08\0\x16\0UI\4\0" + b"1.2\0" + b"\x08\0\x18\0UI\6\0" + b"1.2.3\0")
    assert read_head(path).sop_class_uid == "1.2"
    assert read_head(path).sop_instance_uid == "1.2.3"
    path.write_bytes(meta + b"\x08\0\x16\0UI\4\0" + b"1.2\0")
    with pytest.raises(NotDICOM, match="no SOP Instance UID"):
        read_head(path)


def test_private_information_may_be_large_but_not_endless(tmp_path):
    def with_private(size, held=None):
        head = b"\2\0\2\1OB\0\0" + size.to_bytes(4, "little")
        path = tmp_path / "file"
        path.write_bytes(
            file_meta(CT, UID, ExplicitVRLittleEndian) + head + bytes(size if held is None else held) + DATA
        )
        return path

    path = with_private(300_000)
    assert b"".join(open_pieces(read_head(path))) == DATA
    with PartTenReader(path) as reader:
        assert reader.read(1 << 30) == DATA
        assert reader.read(1) == b""
    for size, held in ((2_000_000, None), (0xFFFFFFFF, 0), (900_000, 1000)):
        with pytest.raises(NotDICOM):
            read_head(with_private(size, held))


def test_meta_in_implicit_vr_is_read(tmp_path):
    path = tmp_path / "file"
    elements = ((2, CT.encode() + b"\0"), (3, UID.encode() + b"\0"), (16, ExplicitVRLittleEndian.encode() + b"\0"))
    meta = b"".join(b"\2\0" + n.to_bytes(2, "little") + len(v).to_bytes(4, "little") + v for n, v in elements)
    path.write_bytes(bytes(128) + b"DICM" + meta + DATA)
    assert read_head(path).sop_class_uid == CT
    assert b"".join(open_pieces(read_head(path))) == DATA


def test_a_file_that_becomes_shorter_is_not_sent_as_if_whole(tmp_path):
    path = save(tmp_path, CT, UID, ExplicitVRLittleEndian, [DATA * 30])
    head = read_head(path)
    with PartTenReader(path) as reader:
        os.truncate(path, 200_000)
        with pytest.raises(OSError, match="shorter"):
            list(reader.pieces())
    with pytest.raises(OSError, match="shorter"):
        list(open_pieces(head))


# --- file meta and names ----------------------------------------------------------------------------------------------


def test_file_meta_is_what_pydicom_reads(tmp_path):
    path = save(tmp_path, CT, UID, ExplicitVRLittleEndian, [DATA[:12]], source_ae_title="MODALITY")
    raw = path.read_bytes()
    assert raw[:128] == bytes(128)
    dataset = pydicom.dcmread(path)
    meta = dataset.file_meta
    assert meta.FileMetaInformationGroupLength == len(raw) - 12 - 132 - 12
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.MediaStorageSOPClassUID == CT
    assert meta.MediaStorageSOPInstanceUID == UID
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert meta.ImplementationClassUID.startswith("2.25.")
    assert meta.SourceApplicationEntityTitle == "MODALITY"
    assert "SendingApplicationEntityTitle" not in meta
    assert dataset.PatientID == "A123"


def test_a_uid_that_no_element_can_hold_leaves_no_file(tmp_path):
    with pytest.raises(DatasetEncodeError):
        PartTenWriter(tmp_path, CT, "1." * 40_000, ExplicitVRLittleEndian)
    assert list(tmp_path.iterdir()) == []


def test_a_uid_is_its_own_name():
    assert safe_file_name(UID) == f"{UID}.dcm"
    assert safe_file_name("1" * 64) == "1" * 64 + ".dcm"


HOSTILE = [
    "",
    ".",
    "..",
    "/",
    "../../etc/passwd",
    "1.2/../3",
    "1.2\0",
    "1.2\n",
    "1.2\n.3",
    "1..2",
    ".1",
    "1.",
    "1.2 ",
    "1" * 65,
    "1." * 10_000 + "1",
    "١.٢",  # digits, of another script
    "C:\\x",
    "CON",
    "~",
    "-rf",
    "\ud800",
    "1.2.dcm",
    "$(id)",
]


@pytest.mark.parametrize("uid", HOSTILE)
def test_no_other_uid_is(uid):
    name = safe_file_name(uid)
    assert name.startswith("invalid-uid-")
    assert len(name) < 64


@given(
    st.one_of(st.text(), st.text(alphabet="./\\\0 0123456789:-~%\n"), st.lists(st.sampled_from(HOSTILE)).map(".".join))
)
def test_no_uid_leaves_its_directory_or_hides(uid):
    name = safe_file_name(uid)
    assert name == safe_file_name(uid)
    assert name.isascii()
    assert set(name) <= set("0123456789abcdefghijklmnopqrstuvwxyz.-")
    assert Path("/archive", name).parent == Path("/archive")
    assert name[0] not in ".-"
    assert len(name) <= 68
    assert name.endswith(".dcm")


def test_different_uids_have_different_names():
    assert len({safe_file_name(uid) for uid in HOSTILE}) == len(HOSTILE)


# --- saving -----------------------------------------------------------------------------------------------------------


def writer(directory, durable=True, uid=UID):
    return PartTenWriter(directory, CT, uid, ExplicitVRLittleEndian, durable=durable)


@pytest.mark.parametrize("durable", [True, False])
def test_what_is_written_is_one_file_and_nothing_else(tmp_path, durable):
    with writer(tmp_path, durable) as file:
        for start in range(0, len(DATA), 777):
            file.write(memoryview(DATA)[start : start + 777])
        assert not (tmp_path / f"{UID}.dcm").exists()
        path = file.commit()
    assert path == tmp_path / f"{UID}.dcm"
    assert [*tmp_path.iterdir()] == [path]
    assert b"".join(open_pieces(read_head(path))) == DATA
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_many_pieces_and_empty_ones(tmp_path):
    pieces = [DATA[i : i + 7] for i in range(0, len(DATA), 7)]
    path = save(tmp_path, CT, UID, ExplicitVRLittleEndian, [b"", *pieces, b""])
    assert b"".join(open_pieces(read_head(path))) == DATA
    assert read_head(save(tmp_path, CT, "1.2", ExplicitVRLittleEndian, [])).size == 0


def test_a_write_that_takes_less_goes_on(tmp_path, monkeypatch):
    write, writev = os.write, os.writev
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, memoryview(data)[:5]))
    monkeypatch.setattr(os, "writev", lambda fd, data: writev(fd, [memoryview(data[0])[:100]]))
    path = save(tmp_path, CT, UID, ExplicitVRLittleEndian, [DATA[:300], DATA[300:1000], DATA[1000:1100]])
    assert b"".join(open_pieces(read_head(path))) == DATA[:1100]


def implicit_element(order, group, element=0x0010):
    return pack(order + "HHL", group, element, 4) + b"1.2\0"


def deflated(data, wbits=-15, **options):
    deflater = compressobj(wbits=wbits, **options)
    return deflater.compress(data) + deflater.flush()


BEGINNINGS = {
    "group 0002": (ExplicitVRLittleEndian, implicit_element("<", 0x0002)),
    "group 0000": (ExplicitVRLittleEndian, implicit_element("<", 0x0000)),
    "group FFFE": (ImplicitVRLittleEndian, implicit_element("<", 0xFFFE, 0xE000)),
    "group 0002, Big Endian": (ExplicitVRBigEndian, implicit_element(">", 0x0002)),
    "file meta, data set Big Endian": (ExplicitVRBigEndian, implicit_element("<", 0x0002)),
    "file meta, transfer syntax unknown": ("1.2.3.4", implicit_element("<", 0x0002)),
    "group 0002, deflated": (DeflatedExplicitVRLittleEndian, deflated(implicit_element("<", 0x0002))),
    "group 0002, stored in blocks": (DeflatedExplicitVRLittleEndian, deflated(implicit_element("<", 0x0002), level=0)),
    "an empty block of Huffman codes": (DeflatedExplicitVRLittleEndian, bytes.fromhex("02000000 ffff 0300")),
    "many empty blocks": (
        DeflatedExplicitVRLittleEndian,
        bytes.fromhex("000000ffff") * 1000 + deflated(implicit_element("<", 0x0002)),
    ),
}


def written(file, pieces):
    for piece in pieces[:-1]:
        file.write(b"", memoryview(piece))
    return file.finish(pieces[-1])


@pytest.mark.parametrize("size", [1, 2, 3, 1 << 20])
@pytest.mark.parametrize("name", BEGINNINGS)
def test_what_no_data_set_begins_with(tmp_path, name, size):
    """However it is cut: what goes on where our file meta ends would say how the file is to be read."""
    syntax, data = BEGINNINGS[name]
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    with pytest.raises(DatasetDecodeError, match="begins with group"):
        save(tmp_path, CT, UID, syntax, pieces)
    with PartTenWriter(tmp_path, CT, UID, syntax) as file, pytest.raises(DatasetDecodeError, match="begins with group"):
        written(file, pieces)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("syntax", "data"),
    [
        (ExplicitVRLittleEndian, b""),
        (ExplicitVRLittleEndian, b"\x02"),
        (ExplicitVRLittleEndian, implicit_element("<", 0x0004)),  # a DICOMDIR
        (ExplicitVRLittleEndian, implicit_element("<", 0x0200)),
        (ExplicitVRBigEndian, implicit_element(">", 0x0008)),
        (DeflatedExplicitVRLittleEndian, deflated(DATA)),
        (DeflatedExplicitVRLittleEndian, bytes.fromhex("000000ffff") + deflated(DATA)),
        (DeflatedExplicitVRLittleEndian, deflated(b"")),
        (DeflatedExplicitVRLittleEndian, deflated(b"") + implicit_element("<", 0x0002) * 9),
        (DeflatedExplicitVRLittleEndian, b"\0\0" + b"corrupt"),
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_what_data_sets_begin_with_is_kept_as_it_is(tmp_path, syntax, data, size):
    path = save(tmp_path, CT, UID, syntax, [data[at : at + size] for at in range(0, len(data), size)])
    assert path.read_bytes().endswith(data)
    assert pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID == syntax


def test_group_0002_further_on_says_nothing_of_the_file(tmp_path):
    """A reader's file meta is over with the first element of another group; to look for it in a gigabyte is dear."""
    data = implicit_element("<", 0x0008, 0x0005) + implicit_element("<", 0x0002)
    path = save(tmp_path, CT, UID, ImplicitVRLittleEndian, [data])
    assert read_head(path).transfer_syntax == ImplicitVRLittleEndian
    assert pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID == ImplicitVRLittleEndian
    assert [int(each.tag) for each in decode_dataset(data, ImplicitVRLittleEndian)] == [0x00080005]


def test_rolled_back_leaves_nothing(tmp_path):
    file = writer(tmp_path)
    file.write(DATA)
    assert len([*tmp_path.iterdir()]) == 1
    file.rollback()
    file.rollback()
    assert [*tmp_path.iterdir()] == []
    with pytest.raises(ValueError, match="rolled back"):
        file.write(DATA)


def test_an_exception_in_the_body_rolls_back(tmp_path):
    def body():
        with writer(tmp_path) as file:
            file.write(DATA)
            raise KeyError

    with pytest.raises(KeyError):
        body()
    assert [*tmp_path.iterdir()] == []


def test_a_rollback_after_the_commit_leaves_the_file(tmp_path):
    with writer(tmp_path) as file:
        path = file.commit()
    file.rollback()
    assert path.exists()


def test_the_order_is_write_fsync_rename_fsync_of_the_directory(tmp_path, monkeypatch):
    calls = []

    def spy(owner, name):
        original = getattr(owner, name)

        def call(*args):
            is_directory = name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode)
            calls.append("fsync directory" if is_directory else name)
            return original(*args)

        monkeypatch.setattr(owner, name, call)

    for owner, name in ((os, "writev"), (os, "fsync"), (os, "replace")):
        spy(owner, name)
    save(tmp_path, CT, UID, ExplicitVRLittleEndian, [DATA])
    assert calls == ["writev", "fsync", "replace", "fsync directory"]
    calls.clear()
    save(tmp_path, CT, UID, ExplicitVRLittleEndian, [DATA], durable=False)
    assert calls == ["writev", "replace"]


def failing(monkeypatch, owner, name, nth, error):
    original, count = getattr(owner, name), 0

    def call(*args, **kwargs):
        nonlocal count
        count += 1
        if count == nth:
            raise OSError(error, os.strerror(error))
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)


def save_in_two_writes(directory, data):
    with writer(directory) as file:
        file.write(data[:10], data[10:20])
        file.write(data[20:])
        file.commit()


def open_descriptors():
    descriptors = Path("/proc/self/fd")
    return len([*descriptors.iterdir()]) if descriptors.exists() else 0


STEPS = {
    "create": (os, "open", 1),
    "first write": (os, "writev", 1),
    "later write": (os, "write", 1),
    "fsync of the file": (os, "fsync", 1),
    "fstat": (os, "fstat", 1),
    "close": (os, "close", 1),
    "rename": (os, "replace", 1),
    "open of the directory": (os, "open", 2),
    "fsync of the directory": (os, "fsync", 2),
}


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("step", STEPS)
def test_a_disk_fault_at_any_step_leaves_no_file(tmp_path, monkeypatch, step, error):
    before = open_descriptors()
    with monkeypatch.context() as patch:
        failing(patch, *STEPS[step], error)
        with pytest.raises(OSError, match=r".") as raised:
            save_in_two_writes(tmp_path, DATA)
    assert raised.value.errno == error
    assert [*tmp_path.iterdir()] == []
    if step != "close":  # which our fault keeps from closing
        assert open_descriptors() == before


@pytest.mark.parametrize("step", [step for step in STEPS if step != "fstat"])  # of a new file only
def test_a_disk_fault_does_not_lose_what_was_saved_before(tmp_path, monkeypatch, step):
    """The same instance, sent again: whatever fails, the target is the old file or the new one, whole."""
    path = save(tmp_path, CT, UID, ExplicitVRLittleEndian, [comments(b"old!")])
    with monkeypatch.context() as patch:
        failing(patch, *STEPS[step], errno.EIO)
        with pytest.raises(OSError, match=r"."):
            save_in_two_writes(tmp_path, comments(b"new!"))
    assert [*tmp_path.iterdir()] == [path]
    assert b"".join(open_pieces(read_head(path))) == comments(b"new!" if "fsync of the directory" in step else b"old!")


def test_a_failed_directory_fsync_does_not_take_the_file_of_another(tmp_path, monkeypatch):
    fsync, first = os.fsync, writer(tmp_path)

    def fails_after_the_other_saved(fd):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            monkeypatch.setattr(os, "fsync", fsync)
            save(tmp_path, CT, UID, ExplicitVRLittleEndian, [comments(b"them")])
            raise OSError(errno.EIO, "fault")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fails_after_the_other_saved)
    first.write(comments(b"ours"))
    with pytest.raises(OSError, match="fault"):
        first.commit()
    assert b"".join(open_pieces(read_head(tmp_path / f"{UID}.dcm"))) == comments(b"them")


def test_the_same_uid_from_two_associations_never_mixes(tmp_path):
    one, two = writer(tmp_path), writer(tmp_path)
    for _ in range(10):
        one.write(comments(b"1111"))
        two.write(comments(b"2222"))
    one.commit()
    assert b"".join(open_pieces(read_head(one.path))) == comments(b"1111") * 10
    two.commit()
    assert b"".join(open_pieces(read_head(one.path))) == comments(b"2222") * 10
    assert [*tmp_path.iterdir()] == [one.path]


def test_not_even_where_chance_gives_both_the_same_temporary_name(tmp_path, monkeypatch):
    monkeypatch.setattr("aiodimse.datasets.unfinished.getrandbits", lambda _: 0)
    one = writer(tmp_path)
    one.write(DATA)
    with pytest.raises(FileExistsError):
        writer(tmp_path).write(DATA)
    assert b"".join(open_pieces(read_head(one.commit()))) == DATA


def test_a_link_at_the_target_is_replaced_and_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / f"{UID}.dcm").symlink_to(outside)
    path = save(archive, CT, UID, ExplicitVRLittleEndian, [DATA])
    assert outside.read_text() == "untouched"
    assert not path.is_symlink()


def test_a_directory_at_the_target_is_an_error_that_leaves_nothing(tmp_path):
    (tmp_path / f"{UID}.dcm").mkdir()
    with pytest.raises(OSError, match=r"."):
        save(tmp_path, CT, UID, ExplicitVRLittleEndian, [DATA])
    assert [path.name for path in tmp_path.iterdir()] == [f"{UID}.dcm"]


def test_a_directory_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        writer(tmp_path / "absent").write(DATA)
