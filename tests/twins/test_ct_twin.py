from __future__ import annotations

import hashlib
import zipfile

import numpy as np
import pytest

from benchmark.core.tables import read_table
from benchmark.data.cards import load_card
from benchmark.data.dataset import evaluation_set, read_dataset
from benchmark.data.decoded_volumes import volume_sources
from benchmark.data.volumes import read_volume
from benchmark.prompts.lexicon import load_lexicon
from benchmark.prompts.training_texts import align_manifest
from benchmark.twins.case import Finding, TwinPatient
from benchmark.twins.ct.build import CTSpec, build_ct_twin, masks_path
from benchmark.twins.ct.catalogue import catalogue, ct_site
from benchmark.twins.ct.contact_sheet import contact_sheet
from benchmark.twins.ct.findings.base import PAINTERS
from benchmark.twins.ct.scan import draw
from benchmark.twins.population import detail, generator

SIDE = 40
PATIENT = TwinPatient(5, "M", 65)
SETS = {"ct_rate": 12, "ct_rate_lt": 4, "rad_chestct": 4}


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    root = tmp_path_factory.mktemp("ct")
    for name, images in SETS.items():
        build_ct_twin(name, root / name, CTSpec(images=images, side=SIDE), seed=3, workers=1)
    return root


@pytest.fixture(scope="module")
def plain():
    phantom, lesions, _ = draw(PATIENT, (), ct_site("ct_rate"), SIDE, 1, 2)
    return phantom, lesions


def files(root):
    found = {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
    return {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}


def test_every_class_of_the_cards_is_drawn():
    lexicon = load_lexicon()
    drawn = set(catalogue())
    assert drawn <= set(lexicon.concepts)
    for name in ("ct_rate", "ct_rate_lt"):
        for label, ids in load_card(name).concepts.items():
            below = set().union(*(lexicon.descendants(i) for i in ids))
            assert below & drawn, label
    assert {step for c in catalogue().values() for step in c.draw} == set(PAINTERS.names())


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_a_finding_changes_the_scan_where_its_mask_is(name, plain):
    healthy, none = plain
    finding = detail(catalogue()[name], generator(1, name))
    ill, lesions, _ = draw(PATIENT, (finding,), ct_site("ct_rate"), SIDE, 1, 2)
    assert not none
    assert lesions
    change = np.abs(ill.hu - healthy.hu)
    inside = np.any([lesion.mask for lesion in lesions], axis=0)
    assert change[inside].mean() > max(20, 4 * change[~inside].mean())


def test_the_sheet_shows_a_patient_without_and_with_the_finding():
    sheet = contact_sheet(["pleural effusion"], side=SIDE, columns=1)
    assert sheet.shape == (SIDE + 14, 2 * SIDE)
    healthy, ill = sheet[14:, :SIDE].astype(int), sheet[14:, SIDE:].astype(int)
    assert np.abs(healthy - ill).max() > 60


def test_sides_are_the_patients():
    site, patient = ct_site("ct_rate"), TwinPatient(5, "F", 60)
    for side in ("left", "right"):
        _, lesions, _ = draw(patient, (Finding("pleural effusion", side=side),), site, SIDE, 1, 2)
        columns = np.flatnonzero(lesions[0].mask.any((0, 1))) - (SIDE - 1) / 2
        assert (columns.mean() > 0) == (side == "left")


@pytest.mark.parametrize("name", SETS)
def test_the_readers_of_the_real_files_read_the_twin(name, twins):
    manifest = read_dataset(name, twins / name, "twin")
    assert len(manifest) == SETS[name]
    assert not manifest.info.dropped
    chosen = evaluation_set(manifest, load_card(name), load_card(name).default_protocol)
    assert len(chosen) > 0
    first = volume_sources(manifest)[0]
    volume = read_volume(first.path, first.told)
    assert volume.hu.shape == (24, SIDE, SIDE)
    assert np.allclose(volume.spacing, (14, 9, 9))
    middle = volume.hu[12]
    assert middle.min() < -800
    assert 0 < np.median(volume.hu[2, 14:26, 8:14]) < 120, "the liver is low and at the patient's right"


def test_a_twin_of_one_seed_is_the_same_bytes(twins, tmp_path):
    build_ct_twin("rad_chestct", tmp_path / "again", CTSpec(images=4, side=SIDE), seed=3, workers=1)
    assert files(tmp_path / "again") == files(twins / "rad_chestct")
    assert masks_path(tmp_path / "again").read_bytes() == masks_path(twins / "rad_chestct").read_bytes()


def test_truth_says_where_every_lesion_is(twins):
    truth = read_table(twins / "ct_rate.truth.parquet")[0]
    drawn = truth[(truth["source"] == "image") & truth["mask"].notna()]
    with zipfile.ZipFile(masks_path(twins / "ct_rate")) as archive:
        for row in drawn.itertuples():
            shape = (24, SIDE, SIDE)
            mask = np.unpackbits(np.frombuffer(archive.read(row.mask), np.uint8))[: np.prod(shape)].reshape(
                shape
            )
            z, y, x = (np.flatnonzero(mask.any(axis=a)) for a in ((1, 2), (0, 2), (0, 1)))
            assert (x[0], y[0], z[0]) == (row.x, row.y, row.z)
            assert (len(x) and x[-1] - x[0] + 1, z[-1] - z[0] + 1) == (row.w, row.h)


def test_the_aligner_reads_what_reports_state(twins):
    manifest = read_dataset("ct_rate", twins / "ct_rate", "twin")
    table = align_manifest(manifest, rule="findings+impression")
    table = table[table["concept"].notna() & (table["presence"] != "absent")]
    read = {(text, concept) for text, concept in zip(table["text"], table["concept"], strict=True)}
    truth = read_table(twins / "ct_rate.truth.parquet")[0]
    said = truth[(truth["source"] == "sentence") & truth["presence"].isin(["present", "uncertain"])]
    stated = {(text, concept) for text, concept in zip(said["text"], said["concept"], strict=True)}
    missed = {pair for pair in stated if pair not in read}
    assert len(missed) <= 0.1 * len(stated), sorted(missed)
